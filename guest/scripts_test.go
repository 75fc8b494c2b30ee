package guest

import (
	"testing"

	"nvlab/guest/internal/fake"
)

// What programs and libraries are found by without maintainer scripts.
func TestAlternativesAndLibrariesAreLinked(t *testing.T) {
	r := newRepo(t)
	r.add("gawk", "5.2", "libdeep", fake.File{Name: "usr/bin/gawk", Data: fake.Program("libdeep.so.1")},
		fake.File{Name: "DEBIAN/postinst", Data: []byte("update-alternatives --install /usr/bin/cat cat /usr/bin/gawk 10\nupdate-alternatives --install /usr/bin/none none /usr/bin/absent 10\n")})
	r.add("tool", "1", "", fake.File{Name: "usr/bin/tool", Data: fake.Program()},
		fake.File{Name: "DEBIAN/postinst", Data: []byte("update-alternatives --install /usr/bin/cat cat /usr/bin/tool 50 --slave /usr/bin/gawk gawk /usr/bin/tool\n")})
	r.add("libdeep", "1", "", fake.File{Name: "usr/lib/deep/libdeep.so.1", Data: fake.Library()}, fake.File{Name: "etc/ld.so.conf.d/deep.conf", Data: []byte("# comment\n/usr/lib/deep\n")})
	im := ensure(t, open(t, t.TempDir()), Spec{Packages: []string{"gawk", "tool"}})
	got := paths(t, im.BaseInitrd)
	for name, want := range map[string]string{
		"usr/bin/cat":                           "/etc/alternatives/cat", // not busybox, which fills gaps only
		"etc/alternatives/cat":                  "/usr/bin/tool",         // the higher priority
		"usr/bin/dd":                            "busybox-static",
		"usr/bin/gawk":                          "", // a package's own file wins over a link
		"usr/lib/x86_64-linux-gnu/libdeep.so.1": "/usr/lib/deep/libdeep.so.1",
	} {
		if e, ok := got[name]; !ok || e.Link != want {
			t.Errorf("%s is %+v (%v), want a link to %q", name, e, ok, want)
		}
	}
	if e, ok := got["usr/bin/none"]; ok {
		t.Errorf("/usr/bin/none is %+v, want nothing: there is no such program", e)
	}
}
