package nestedtest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"nvlab/guest"
	"nvlab/guest/debian"
	"nvlab/guest/rootfs"
	"nvlab/vmm/boot"
)

// kvmModules are loaded in this order.
var kvmModules = []string{"irqbypass", "ccp", "kvm", "kvm-amd"}

// level1 is QEMU's guest: Debian's generic kernel, its KVM and nvlab.
type level1 struct {
	image  *guest.Image
	initrd string
}

// programs builds what runs in level 1, static.
func programs(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for _, args := range [][]string{
		{"build", "-o", filepath.Join(dir, "nvlab"), "nvlab/cmd/nvlab"},
		{"test", "-c", "-o", filepath.Join(dir, "kvm.test"), "nvlab/vmm/kvm"},
		{"test", "-c", "-o", filepath.Join(dir, "vmm.test"), "nvlab/vmm"},
		{"test", "-c", "-ldflags", "-s -w", "-o", filepath.Join(dir, "lab.test"), "nvlab/lab"},
	} {
		cmd := exec.Command("go", args...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	return dir
}

// newLevel1 makes the guest, which runs script and powers off. Files go to the
// root by their names.
func newLevel1(t *testing.T, dir, script string) *level1 {
	t.Helper()
	store, err := guest.Open("")
	if err != nil {
		t.Fatal(err)
	}
	store.Vmlinux = boot.Decompress
	progress := guest.NewProgress(os.Stderr, false)
	inner, err := store.Ensure(context.Background(), guest.Spec{}, progress)
	if err != nil {
		t.Fatal(err)
	}
	outer, err := store.Ensure(context.Background(), guest.Spec{Kernel: "linux-image-amd64"}, progress)
	if err != nil {
		t.Fatal(err)
	}
	tree := rootfs.NewTree()
	add := func(to string, perm uint32, from string) {
		t.Helper()
		data, err := os.ReadFile(from)
		if err == nil {
			err = tree.AddFile(to, perm, data)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"nvlab", "kvm.test", "vmm.test", "lab.test"} {
		add(name, 0o755, filepath.Join(dir, name))
	}
	agent, err := store.Agent(context.Background(), progress)
	if err != nil {
		t.Fatal(err)
	}
	add(path.Join("cache/nvlab/agents", filepath.Base(agent)), 0o755, agent)
	add("testdata/guest.elf", 0o644, "../vmm/testdata/guest.elf")
	add("testdata/guest.s", 0o644, "../vmm/testdata/guest.s")
	for _, name := range []string{"bytes.star", "snapshots.star"} {
		add("scenarios/"+name, 0o644, "testdata/"+name)
	}
	for _, pattern := range []string{"*.star", "document/*.star", "beyond/*.star", "machine/*.star"} {
		files, err := filepath.Glob("../scenarios/" + pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			add(strings.TrimPrefix(f, "../"), 0o644, f)
		}
	}
	folder := filepath.Dir(inner.KernelPath)
	files, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		add(path.Join("cache/nvlab/guests", filepath.Base(folder), f.Name()), 0o644, filepath.Join(folder, f.Name()))
	}
	if err := tree.AddFile("cache/nvlab/guests/default", 0o644, []byte(filepath.Base(folder)+"\n")); err != nil {
		t.Fatal(err)
	}
	if err := tree.AddFile("script", 0o755, []byte(script)); err != nil {
		t.Fatal(err)
	}
	addModules(t, tree, store, outer)

	base, err := outer.Initramfs(agent)
	if err != nil {
		t.Fatal(err)
	}
	defer base.Close()
	initrd := make([]byte, base.Size())
	if _, err := base.ReadAt(initrd, 0); err != nil {
		t.Fatal(err)
	}
	b := bytes.NewBuffer(initrd)
	b.Write(make([]byte, -len(initrd)&3)) // an archive begins at a multiple of 4
	if err := tree.WriteCPIO(b); err != nil {
		t.Fatal(err)
	}
	l := &level1{image: outer, initrd: filepath.Join(dir, "initrd")}
	if err := os.WriteFile(l.initrd, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return l
}

// addModules takes KVM's modules out of the kernel's package, for a guest of
// nvlab's has none.
func addModules(t *testing.T, tree *rootfs.Tree, store *guest.Store, image *guest.Image) {
	t.Helper()
	for _, p := range image.Manifest.Packages {
		if !strings.HasPrefix(p.Name, "linux-image-") {
			continue
		}
		deb, err := os.Open(filepath.Join(store.Dir(), "downloads", p.FileName()))
		if err != nil {
			t.Fatalf("the kernel's package: %v; nvlab guest build --rebuild --kernel linux-image-amd64 fetches it", err)
		}
		defer deb.Close()
		spool, err := os.Create(filepath.Join(t.TempDir(), "data.tar"))
		if err != nil {
			t.Fatal(err)
		}
		defer spool.Close()
		files, err := debian.Unpack(deb, spool, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range kvmModules {
			if err := addModule(tree, files, name); err != nil {
				t.Fatalf("module %s of %s: %v", name, p.Name, err)
			}
		}
		return
	}
	t.Fatalf("guest %s has no kernel of a package", image.Name)
}

func addModule(tree *rootfs.Tree, files []*debian.File, name string) error {
	for _, f := range files {
		file, compression, ok := strings.Cut(path.Base(f.Path), ".ko")
		if !ok || file != name {
			continue
		}
		r, err := f.Open()
		if err != nil {
			return err
		}
		defer r.Close()
		if compression != "" {
			if r, err = debian.Decompressor(path.Base(f.Path), r); err != nil {
				return err
			}
		}
		data, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		return tree.AddFile("kvm/"+name+".ko", 0o644, data)
	}
	return fmt.Errorf("it is not there")
}
