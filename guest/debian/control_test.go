package debian

import (
	"reflect"
	"strings"
	"testing"
)

const index = `Package: ndctl
Version: 76.1-1
Architecture: amd64
Provides: cxl-cli
Depends: libc6 (>= 2.34), libndctl6 (>= 75) [amd64], a | b (= 1), python3:any
Pre-Depends: init-system-helpers (>= 1.54~)
Description: tool
 with more
 .
 lines: yes
Size: 218832
SHA256: 54B787

Package: libc6
Version: 1:2.36-9+deb12u14
Architecture: amd64
`

func TestParseIndex(t *testing.T) {
	got, err := ParseIndex(strings.NewReader(index))
	want := []Package{
		{
			Name: "ndctl", Version: "76.1-1", Arch: "amd64", SHA256: "54b787", Size: 218832,
			Depends:  []Clause{{"init-system-helpers"}, {"libc6"}, {"libndctl6"}, {"a", "b"}, {"python3"}},
			Provides: []string{"cxl-cli"},
		},
		{Name: "libc6", Version: "1:2.36-9+deb12u14", Arch: "amd64"},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("ParseIndex = %+v, %v, want %+v", got, err, want)
	}
	if got, want := got[1].FileName(), "libc6_1%3a2.36-9+deb12u14_amd64.deb"; got != want {
		t.Errorf("FileName() = %q, want %q", got, want)
	}
}

func TestParseIndexRefuses(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"no field\n", "is no field"},
		{"Package: ../x\nVersion: 1\nArchitecture: all\n", "proper names"},
		{"Package: x\nVersion: 1/2\nArchitecture: all\n", "proper names"},
		{"Package: x\nArchitecture: all\n", "proper names"},
		{"Package: x\nVersion: 1\nArchitecture: all\nSize: big\n", "is no number"},
	} {
		if _, err := ParseIndex(strings.NewReader(tt.in)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("ParseIndex(%q) = %v, want an error with %q", tt.in, err, tt.want)
		}
	}
}

func FuzzIndex(f *testing.F) {
	f.Add(index)
	f.Fuzz(func(t *testing.T, s string) {
		list, err := ParseIndex(strings.NewReader(s))
		if err != nil {
			return
		}
		for _, p := range list {
			if strings.ContainsAny(p.FileName(), "/\x00") || p.FileName()[0] == '.' {
				t.Errorf("FileName() = %q leaves its folder", p.FileName())
			}
		}
	})
}
