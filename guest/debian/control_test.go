package debian

import (
	"reflect"
	"strings"
	"testing"
)

const index = `Package: ndctl
Version: 76.1-1
Architecture: amd64
Provides: cxl-cli, ndctl-tools (= 76)
Depends: libc6 (>= 2.34), libndctl6 (>= 75) [amd64], a | b (= 1), python3:any,
 only-arm [arm64]
Pre-Depends: init-system-helpers (>= 1.54~)
Description: tool
 with more
 .
 lines: yes
Filename: pool/main/n/ndctl/ndctl_76.1-1_amd64.deb
Size: 218832
SHA256: 54B787

Package: libc6
Version: 1:2.36-9+deb12u14
Architecture: amd64
`

func parseAll(text string) (list []Package, err error) {
	err = parseIndex(strings.NewReader(text), func(p Package) { list = append(list, p) })
	return list, err
}

func names(list []Clause, err error) (all []string, _ error) {
	for _, c := range list {
		var alts []string
		for _, alt := range c {
			alts = append(alts, alt.Name)
		}
		all = append(all, strings.Join(alts, "|"))
	}
	return all, err
}

func TestParseIndex(t *testing.T) {
	list, err := parseAll(index)
	if err != nil || len(list) != 2 {
		t.Fatalf("parseIndex = %d packages, %v, want 2", len(list), err)
	}
	p := list[0]
	if p.Name != "ndctl" || p.Version != "76.1-1" || p.SHA256 != "54b787" || p.Size != 218832 || p.path != "pool/main/n/ndctl/ndctl_76.1-1_amd64.deb" {
		t.Errorf("parseIndex = %+v, want ndctl as the index has it", p)
	}
	if got, err := names(p.Depends()); err != nil || !reflect.DeepEqual(got, []string{"init-system-helpers", "libc6", "libndctl6", "a|b", "python3"}) {
		t.Errorf("Depends() = %q, %v, want Pre-Depends first, and no package of arm64 alone", got, err)
	}
	if got, err := names(p.Provides()); err != nil || !reflect.DeepEqual(got, []string{"cxl-cli", "ndctl-tools"}) {
		t.Errorf("Provides() = %q, %v, want two names", got, err)
	}
	if got, want := list[1].FileName(), "libc6_1%3a2.36-9+deb12u14_amd64.deb"; got != want {
		t.Errorf("FileName() = %q, want %q", got, want)
	}
}

func TestParseIndexRefuses(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"Package: ../x\nVersion: 1\nArchitecture: amd64\n", "proper names"},
		{"Package: x\nVersion: 1/2\nArchitecture: amd64\n", "proper names"},
		{"Package: x\nVersion: 1\n", "proper names"},
		{"Package: x\nVersion: 1\nArchitecture: amd64\nSize: many\n", "no number"},
		{"Package: x\nVersion: 1\nArchitecture: amd64\nSize: -1\n", "no number"},
		{"Package: x\nVersion: 1\nArchitecture: amd64\nFilename: pool/../../etc/x\n", "leaves the archive"},
		{"Package: x\nVersion: 1\nArchitecture: amd64\nFilename: x?y\n", "leaves the archive"},
		{"<html>\n", "no field"},
		{"Package: " + strings.Repeat("x", maxStanzaLine) + "\n", "a line of more than"},
	} {
		if got, err := parseAll(tt.in); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("parseIndex(%.60q) = %v, %v, want an error with %q", tt.in, got, err, tt.want)
		}
	}
}

func FuzzIndex(f *testing.F) {
	f.Add(index)
	f.Add("Package: a\nVersion: 1\nArchitecture: all\nDepends: b (>> 1) [!amd64] <!x> | ${y}, c:any\nProvides: d (= 2)\n")
	f.Fuzz(func(t *testing.T, text string) {
		x := newIndex("sid")
		if err := parseIndex(strings.NewReader(text), x.add); err != nil {
			return
		}
		x.finish()
		for _, name := range x.Names("") {
			p, err := x.Find(name)
			if err != nil || strings.ContainsAny(p.FileName(), "/\\") || strings.Contains(p.path, "..") && strings.Contains("/"+p.path+"/", "/../") {
				t.Errorf("Find(%q) = %v, %v, want a package whose file stays in its folder", name, p, err)
			}
			x.Closure([]string{name})
		}
	})
}

func testIndex(t *testing.T, text string) *Index {
	t.Helper()
	x := newIndex("trixie")
	if err := parseIndex(strings.NewReader(text), x.add); err != nil {
		t.Fatal(err)
	}
	x.finish()
	return x
}

func stanza(name, version string, fields ...string) string {
	return "Package: " + name + "\nVersion: " + version + "\nArchitecture: amd64\n" + strings.Join(fields, "\n") + "\n\n"
}

func TestClosure(t *testing.T) {
	x := testIndex(t, stanza("tool", "1", "Depends: lib (>= 2), awk, kmod, one | two, pinned (= 1)")+
		stanza("lib", "1")+stanza("lib", "1:1")+stanza("lib", "2~rc")+
		stanza("gawk", "5", "Provides: awk")+stanza("mawk", "1", "Provides: awk, versioned (= 3)")+
		stanza("two", "1", "Depends: tool")+
		stanza("pinned", "2")+stanza("pinned", "1")+
		stanza("broken", "1", "Depends: lib (>> 9:9) | absent")+
		stanza("virtual-user", "1", "Depends: versioned (>= 2)")+stanza("unversioned", "1", "Depends: awk (>= 1)"))
	for _, tt := range []struct {
		names string
		want  string
		err   string
	}{
		{"tool", "tool=1 lib=1:1 gawk=5 two=1 pinned=1", ""},
		{"tool mawk", "tool=1 mawk=1 lib=1:1 two=1 pinned=1", ""},
		{"lib=1", "lib=1", ""},
		{"awk", "gawk=5", ""},
		{"virtual-user", "virtual-user=1 mawk=1", ""},
		{"broken", "", "broken=1: it depends on lib (>> 9:9) | absent, which Debian trixie does not have"},
		{"unversioned", "", "awk (>= 1)"},
		{"lib=3", "", "no package lib=3 (did you mean lib=1:1?)"},
		{"toll", "", "no package toll (did you mean tool?)"},
	} {
		list, err := x.Closure(strings.Fields(tt.names))
		var got []string
		for _, p := range list {
			got = append(got, p.String())
		}
		if s := strings.Join(got, " "); s != tt.want || tt.err == "" && err != nil || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
			t.Errorf("Closure(%s) = %s, %v, want %s, %s", tt.names, s, err, tt.want, tt.err)
		}
	}
}
