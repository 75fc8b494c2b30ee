package nvlabtest

import (
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestCommands runs scripts that use each command, also in ways that must
// fail.
func TestCommands(t *testing.T) {
	testscript.Run(t, Params("testdata"))
}

func TestNormalize(t *testing.T) {
	in := `{"b":"7692c3ad-3540-bb80-3c02-0b3aee66cd88","Time":"now","a":["took 1.25s"],"Elapsed":3}
{"x":"3fc4ccfe-7458-70e2-c0d9-9f71f30ff065 and 7692c3ad-3540-bb80-3c02-0b3aee66cd88"}`
	want := `{
  "a": [
    "took 0.0s"
  ],
  "b": "uuid1"
}
{
  "x": "uuid2 and uuid1"
}
`
	if got, err := normalize([]byte(in)); err != nil || got != want {
		t.Errorf("normalize = %s, %v, want %s", got, err, want)
	}
	if _, err := normalize([]byte(`{"a":`)); err == nil {
		t.Error("normalize took half an object, want an error")
	}
}

func TestParseNumber(t *testing.T) {
	for text, want := range map[string]int64{"0": 0, "4096": 4096, "0x1000": 4096, "128K": 128 << 10, "64M": 64 << 20, "1G": 1 << 30} {
		if got, err := parseNumber(text); err != nil || got != want {
			t.Errorf("parseNumber(%q) = %d, %v, want %d", text, got, err, want)
		}
	}
	for _, bad := range []string{"", "K", "-1", "1T", "x", "9999999999999G"} {
		if got, err := parseNumber(bad); err == nil {
			t.Errorf("parseNumber(%q) = %d, want an error", bad, got)
		}
	}
}
