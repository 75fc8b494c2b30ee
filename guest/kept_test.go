package guest

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nvlab/guest/internal/fake"
	"nvlab/guest/rootfs"
)

func readKept(t *testing.T, k *Kept, name string) string {
	t.Helper()
	r, err := k.Open(name)
	if err != nil {
		t.Fatalf("Open(%s) = %v", name, err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// What the initramfs leaves out is in archives, and guests of one kernel share
// its modules.
func TestKept(t *testing.T) {
	r := newRepo(t)
	big := bytes.Repeat([]byte("program "), rootfs.DeferredSize/8)
	r.add("tool", "1", "", fake.File{Name: "usr/bin/tool", Data: big}, fake.File{Name: "usr/bin/small", Data: []byte("small")},
		fake.File{Name: "lib/modules/" + testRelease + "/extra/own.ko", Data: fake.Module(testRelease, "depends=xfs", "alias=own-thing")},
		fake.File{Name: "lib/modules/5.0.0/extra/other.ko", Data: fake.Module("5.0.0")})
	s := open(t, t.TempDir())
	base, im := ensure(t, s, Spec{}), ensure(t, s, Spec{Packages: []string{"tool"}})
	tree := paths(t, im.BaseInitrd)
	if e := tree["usr/bin/tool"]; e.Size != 0 || e.Mode&0o777 != 0o755 {
		t.Errorf("/usr/bin/tool in the initramfs is %+v, want an empty program", e)
	}
	if e := tree["usr/bin/small"]; e.Size != 5 {
		t.Errorf("/usr/bin/small in the initramfs is %+v, want it whole", e)
	}
	for name := range tree {
		if strings.HasSuffix(name, "unrelated.ko") || strings.HasSuffix(name, "own.ko") {
			t.Errorf("the initramfs has %s, which no boot needs", name)
		}
	}
	k := im.Kept()
	if got := readKept(t, k, "/usr/bin/tool"); got != string(big) {
		t.Errorf("Open(/usr/bin/tool) = %d bytes, want %d", len(got), len(big))
	}
	dir := "/" + modulesDir(testRelease)
	list := readKept(t, k, dir)
	for _, want := range []string{" kernel/unrelated.ko\n", " kernel/xfs.ko\n", " extra/own.ko\n", " modules.dep\n", " modules.dep.bin\n"} {
		if !strings.Contains(list, want) {
			t.Errorf("the list of modules is %q, want it to hold %q", list, want)
		}
	}
	if strings.Contains(list, "other.ko") {
		t.Errorf("the list of modules is %q, want none of another kernel", list)
	}
	for name, want := range map[string]string{"modules.dep": "extra/own.ko: kernel/xfs.ko\n", "modules.alias": "alias own-thing own\n", "modules.builtin": "kernel/fs/ext4/ext4.ko\n"} {
		if got := readKept(t, k, dir+"/"+name); !strings.Contains(got, want) {
			t.Errorf("%s = %q, want it to hold %q", name, got, want)
		}
	}
	if got := readKept(t, k, dir+"/kernel/unrelated.ko"); !strings.HasPrefix(got, "\x7fELF") {
		t.Errorf("Open(unrelated.ko) = %.10q, want the module, decompressed", got)
	}
	if got, again := readKept(t, im.Kept(), dir), list; got != again {
		t.Errorf("the list of modules from the cache = %q, want %q", got, again)
	}
	// A damaged index is made again, whatever its bits say.
	cache := filepath.Join(im.dir, indexArchive)
	whole, err := os.ReadFile(cache)
	if err != nil {
		t.Fatal(err)
	}
	deps := readKept(t, k, dir+"/modules.dep")
	for at := 0; at < len(whole); at += 11 {
		damaged := bytes.Clone(whole)
		damaged[at] ^= 1 << (at % 8)
		if err := os.WriteFile(cache, damaged, 0o644); err != nil {
			t.Fatal(err)
		}
		k := im.Kept()
		if got, gotDeps := readKept(t, k, dir), readKept(t, k, dir+"/modules.dep"); got != list || gotDeps != deps {
			t.Fatalf("with a bit of byte %d of %d of the index changed, modules are %q and need %q", at, len(whole), got, gotDeps)
		}
	}
	for _, name := range []string{"/etc/passwd", dir + "/kernel/none.ko", "/../x", "", dir + "/modules.none"} {
		if _, err := k.Open(name); err == nil {
			t.Errorf("Open(%q) = nil, want an error", name)
		}
	}
	a, err1 := os.Stat(filepath.Join(base.dir, modulesArchive))
	b, err2 := os.Stat(filepath.Join(im.dir, modulesArchive))
	if err1 != nil || err2 != nil || !os.SameFile(a, b) {
		t.Errorf("two guests of one kernel have its modules twice (%v, %v)", err1, err2)
	}
	if err := os.Truncate(filepath.Join(im.dir, filesArchive), 1); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Lookup(Spec{Packages: []string{"tool"}}); err == nil {
		t.Error("a guest whose files are cut off is found, want none")
	}
}
