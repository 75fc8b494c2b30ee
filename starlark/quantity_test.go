package nvstar

import (
	"strings"
	"testing"
	"time"
)

func TestParseSize(t *testing.T) {
	for _, test := range []struct {
		text string
		want uint64
		err  string // part of it
	}{
		{"0", 0, ""},
		{"512", 512, ""},
		{"128K", 128 << 10, ""},
		{"64MiB", 64 << 20, ""},
		{"64M", 64 << 20, ""},
		{"4G", 4 << 30, ""},
		{"1TiB", 1 << 40, ""},
		{"9223372036854775807", 1<<63 - 1, ""},
		{"9223372036854775808", 0, "too large"},
		{"8388608T", 0, "too large"},
		{"99999999999999999999", 0, "too large"},
		{"64MB", 0, `the nearest is "64MiB"`},
		{"64 MiB", 0, `the nearest is "64MiB"`},
		{"64mib", 0, `the nearest is "64MiB"`},
		{"64m", 0, `the nearest is "64MiB"`},
		{"1.5G", 0, `the nearest is "1536MiB"`},
		{"0.3", 0, `"0.3" is not a size`},
		{"", 0, `"" is not a size`},
		{"-1", 0, `"-1" is not a size`},
		{"MiB", 0, `"MiB" is not a size`},
		{"64MiBs", 0, `"64MiBs" is not a size`},
		{"0x1000", 0, `"0x1000" is not a size`},
	} {
		got, err := ParseSize(test.text)
		switch {
		case test.err == "" && (err != nil || got != test.want):
			t.Errorf("ParseSize(%q) = %d, %v, want %d", test.text, got, err, test.want)
		case test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)):
			t.Errorf("ParseSize(%q) = %d, %v, want an error with %q", test.text, got, err, test.err)
		}
	}
}

func FuzzParseSize(f *testing.F) {
	for _, s := range []string{"64MiB", "1.5G", "", "K", "99999999999999999999G", ".K", "1e9"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := ParseSize(s)
		if err != nil {
			return
		}
		if again, err := ParseSize(FormatSize(n)); again != n || err != nil {
			t.Errorf("ParseSize(FormatSize(%d)) = %d, %v", n, again, err)
		}
	})
}

func TestFormatSize(t *testing.T) {
	for n, want := range map[uint64]string{0: "0", 1000: "1000", 1 << 10: "1KiB", 3 << 20: "3MiB", 1<<30 + 1<<20: "1025MiB", 1 << 40: "1TiB"} {
		if got := FormatSize(n); got != want {
			t.Errorf("FormatSize(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestParseDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{"250ms": 250 * time.Millisecond, "30s": 30 * time.Second, "1m30s": 90 * time.Second, "0s": 0} {
		if got, err := parseDuration(text); err != nil || got != want {
			t.Errorf("parseDuration(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
	for text, want := range map[string]string{"30": `as in "30s"`, "8761h": "too long: a duration is at most", "256001h": "too long", "2562047h": "too long", "9999999h": "is not a duration", "soon": "is not a duration", "-1s": "less than nothing", "": "is not a duration"} {
		if got, err := parseDuration(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("parseDuration(%q) = %v, %v, want an error with %q", text, got, err, want)
		}
	}
}
