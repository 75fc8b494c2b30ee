package debian

import (
	"bytes"
	"reflect"
	"testing"

	"nvlab/guest/internal/fake"
)

func TestAlternatives(t *testing.T) {
	for _, tt := range []struct {
		name, script string
		want         []Alternative
	}{
		{"with slaves", "set -e\nupdate-alternatives --quiet --install /usr/bin/awk awk /usr/bin/gawk 10 \\\n  --slave /usr/share/man/man1/awk.1.gz awk.1.gz /usr/share/man/man1/gawk.1.gz \\\n  --slave /usr/bin/nawk nawk /usr/bin/gawk\n",
			[]Alternative{{"/usr/bin/awk", "awk", "/usr/bin/gawk", 10}, {"/usr/share/man/man1/awk.1.gz", "awk.1.gz", "/usr/share/man/man1/gawk.1.gz", 10}, {"/usr/bin/nawk", "nawk", "/usr/bin/gawk", 10}}},
		{"in a condition", "if [ \"$1\" = configure ]; then update-alternatives --install /usr/bin/pager pager \"/bin/more\" 50; fi\n",
			[]Alternative{{"/usr/bin/pager", "pager", "/bin/more", 50}}},
		{"of variables", "update-alternatives --install /usr/bin/$i $i /usr/bin/vim.tiny 15\n", nil},
		{"cut off", "update-alternatives --install /usr/bin/awk awk", nil},
		{"no number", "update-alternatives --install /usr/bin/awk awk /usr/bin/gawk high", nil},
		{"a name with a slash", "update-alternatives --install /usr/bin/awk ../awk /usr/bin/gawk 10", nil},
		{"removal", "update-alternatives --remove awk /usr/bin/gawk\n", nil},
	} {
		if got := Alternatives([]byte(tt.script)); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: Alternatives = %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

func TestReadControl(t *testing.T) {
	deb := fake.Deb(".gz", fake.File{Name: "DEBIAN/control", Data: []byte("Package: a\n")}, fake.File{Name: "DEBIAN/postinst", Data: []byte("#!/bin/sh\n")}, fake.File{Name: "usr/bin/a"})
	got, err := ReadControl(bytes.NewReader(deb))
	want := map[string][]byte{"control": []byte("Package: a\n"), "postinst": []byte("#!/bin/sh\n")}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("ReadControl = %q, %v, want %q", got, err, want)
	}
	if _, err := ReadControl(bytes.NewReader(deb[:80])); err == nil {
		t.Error("ReadControl of a package that is cut off = nil, want an error")
	}
}

func FuzzControl(f *testing.F) {
	f.Add(fake.Deb("", fake.File{Name: "DEBIAN/postinst", Data: []byte("update-alternatives --install /usr/bin/awk awk /usr/bin/gawk 10 --slave /a b /c")}))
	f.Fuzz(func(t *testing.T, b []byte) {
		control, err := ReadControl(bytes.NewReader(b))
		if err != nil {
			return
		}
		for _, a := range Alternatives(control["postinst"]) {
			if a.Link[0] != '/' || a.Path[0] != '/' || a.Name == "" {
				t.Fatalf("alternative %+v", a)
			}
		}
	})
}
