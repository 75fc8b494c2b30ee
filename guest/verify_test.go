package guest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"nvlab/guest/internal/fake"
	"nvlab/guest/rootfs"
)

// withVmlinux is a store that has something to decompress.
func withVmlinux(t *testing.T, dir string) *Store {
	s := open(t, dir)
	s.Vmlinux = func(image []byte) ([]byte, error) { return append([]byte("\x7fELF of "), image...), nil }
	return s
}

// builtFiles are those whose content a build decides.
var builtFiles = []string{kernelFile, initrdFile, vmlinuxFile, ownArchive, modulesArchive, filesArchive}

// contents are a guest's files by name, without what notes their use.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	m := map[string]string{}
	for _, name := range builtFiles {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		m[name] = string(b)
	}
	return m
}

func equal(a, b map[string]string) bool {
	return maps.Equal(a, b)
}

// damages are what befalls a file on a disk.
var damages = []struct {
	name string
	do   func(file string, r *rand.Rand) error
}{
	{"a bit flips", func(file string, r *rand.Rand) error {
		b, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		b[r.IntN(len(b))] ^= 1 << r.IntN(8)
		return os.WriteFile(file, b, 0o644)
	}},
	{"it is cut", func(file string, r *rand.Rand) error {
		st, err := os.Stat(file)
		if err != nil {
			return err
		}
		return os.Truncate(file, r.Int64N(st.Size()))
	}},
	{"it is gone", func(file string, _ *rand.Rand) error { return os.Remove(file) }},
	{"zeros are its end", func(file string, r *rand.Rand) error {
		b, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		clear(b[len(b)-1-r.IntN(len(b)/2):])
		return os.WriteFile(file, b, 0o644)
	}},
}

func TestDamagedFilesAreMadeAgain(t *testing.T) {
	r := newRepo(t)
	r.add("tool", "1", "", fake.File{Name: "usr/bin/tool", Data: bytes.Repeat([]byte("program "), rootfs.DeferredSize/8)})
	s := withVmlinux(t, t.TempDir())
	good := contents(t, ensure(t, s, Spec{}).Dir())
	random := rand.New(rand.NewPCG(1, 2))
	hold := func(spec Spec, good map[string]string, files ...string) {
		for _, file := range files {
			for _, damage := range damages {
				im := ensure(t, s, spec)
				if err := damage.do(filepath.Join(im.Dir(), file), random); err != nil {
					t.Fatal(err)
				}
				im = ensure(t, s, spec)
				if !equal(contents(t, im.Dir()), good) || im.VmlinuxPath == "" || im.Default != (spec.Packages == nil) {
					t.Errorf("%s of %s: %s: the next run's guest is not what it was", file, im.Name, damage.name)
				}
			}
		}
	}
	hold(Spec{}, good, kernelFile, initrdFile, vmlinuxFile, modulesArchive, manifestFile, checkedFile)
	tool := Spec{Packages: []string{"tool"}}
	hold(tool, contents(t, ensure(t, s, tool).Dir()), ownArchive, modulesArchive, filesArchive)
	// What both share is damaged in both, and either may be made again first.
	for _, first := range []Spec{{}, tool} {
		im := ensure(t, s, tool)
		files := paths(t, im.BaseInitrd)
		if err := damages[0].do(im.BaseInitrd, random); err != nil {
			t.Fatal(err)
		}
		ensure(t, s, first)
		if got := contents(t, ensure(t, s, Spec{}).Dir()); !equal(got, good) {
			t.Errorf("initrd.cpio of %s is damaged, %s comes first: the default guest is not what it was", im.Name, first)
		}
		if got := paths(t, ensure(t, s, tool).BaseInitrd); !maps.Equal(got, files) {
			t.Errorf("initrd.cpio of %s is damaged, %s comes first: its files are %v, want %v", im.Name, first, got, files)
		}
		ensure(t, s, Spec{Packages: tool.Packages, Rebuild: true})
	}
	// Without the archive: packages are there still, and its lists.
	im := ensure(t, s, Spec{})
	if err := damages[0].do(im.BaseInitrd, random); err != nil {
		t.Fatal(err)
	}
	r.mirror.Close()
	_, err := s.Ensure(context.Background(), Spec{}, nil)
	if err == nil && !equal(contents(t, im.Dir()), good) {
		t.Error("without a mirror a damaged guest is used as it is")
	}
	if err := os.RemoveAll(s.downloads()); err != nil {
		t.Fatal(err)
	}
	if err := damages[1].do(im.BaseInitrd, random); err != nil {
		t.Fatal(err)
	}
	_, err = s.Ensure(context.Background(), Spec{}, nil)
	if err == nil || !strings.Contains(err.Error(), "is damaged: its initrd.cpio has") {
		t.Errorf("a damaged guest without packages = %v, want an error that says what is damaged", err)
	}
}

func TestUnchangedFilesAreNotRead(t *testing.T) {
	newRepo(t)
	s := withVmlinux(t, t.TempDir())
	im := ensure(t, s, Spec{})
	old := time.Now().Add(-time.Hour)
	for _, file := range []string{kernelFile, initrdFile, vmlinuxFile, modulesArchive} {
		if err := os.Chtimes(filepath.Join(im.Dir(), file), old, old); err != nil {
			t.Fatal(err)
		}
	}
	ensure(t, s, Spec{}) // reads and notes
	st, err := os.Stat(filepath.Join(im.Dir(), checkedFile))
	if err != nil {
		t.Fatal(err)
	}
	ensure(t, s, Spec{})
	again, err := os.Stat(filepath.Join(im.Dir(), checkedFile))
	if err != nil || !os.SameFile(st, again) {
		t.Errorf("the second use of unchanged files noted them again (%v): it read them", err)
	}
}

// TestHostToolsDoNotReplacePackages rebuilds the default guest while the archive
// is down, on a host that has all programs.
func TestHostToolsDoNotReplacePackages(t *testing.T) {
	r := newRepo(t)
	s := open(t, t.TempDir())
	im := ensure(t, s, Spec{})
	before := contents(t, im.Dir())
	hostKernelFiles(t, "6.1.99-host")
	r.mirror.Close()
	os.RemoveAll(s.downloads())
	for _, damage := range []bool{false, true} {
		if damage {
			if err := damages[0].do(im.BaseInitrd, rand.New(rand.NewPCG(3, 4))); err != nil {
				t.Fatal(err)
			}
		}
		again, err := s.Ensure(context.Background(), Spec{Rebuild: !damage}, nil)
		if err == nil {
			t.Errorf("damaged %v: a rebuild without packages gives a guest with tools of the %s, want an error", damage, again.Manifest.Tools)
		} else if !strings.Contains(err.Error(), "do not take the place") {
			t.Errorf("damaged %v: a rebuild without packages = %v, want that the guest stays", damage, err)
		}
		if !damage && !equal(contents(t, im.Dir()), before) {
			t.Error("a rebuild that failed changed the guest")
		}
	}
	if list, err := s.List(); err != nil || len(list) != 1 || !list[0].Default || list[0].Manifest.Tools != "package" {
		t.Errorf("List() = %v, %v, want the one guest, from packages", list, err)
	}
}

func TestKernelsAreShared(t *testing.T) {
	newRepo(t)
	s := withVmlinux(t, t.TempDir())
	one, two := ensure(t, s, Spec{}), ensure(t, s, Spec{Packages: []string{"fio"}})
	for _, paths := range [][2]string{{one.KernelPath, two.KernelPath}, {one.VmlinuxPath, two.VmlinuxPath}, {one.BaseInitrd, two.BaseInitrd}} {
		a, err := os.Stat(paths[0])
		if err != nil {
			t.Fatal(err)
		}
		if b, err := os.Stat(paths[1]); err != nil || !os.SameFile(a, b) {
			t.Errorf("%s and %s are two files (%v), want one", paths[0], paths[1], err)
		}
	}
	// What befalls one befalls both, and both are made again.
	good := contents(t, one.Dir())
	if err := damages[0].do(two.VmlinuxPath, rand.New(rand.NewPCG(5, 6))); err != nil {
		t.Fatal(err)
	}
	for _, spec := range []Spec{{}, {Packages: []string{"fio"}}} {
		if got := contents(t, ensure(t, s, spec).Dir()); got[vmlinuxFile] != good[vmlinuxFile] {
			t.Errorf("the vmlinux of %s is damaged still", spec)
		}
	}
}

func TestPruneKeepsWhatIsUsed(t *testing.T) {
	r := newRepo(t)
	for i := range 3 {
		r.kernel(fmt.Sprintf("6.12.%d-other", i), "6.12-1")
	}
	s := open(t, t.TempDir())
	ensure(t, s, Spec{}).Close()
	var others []*Image
	for i := range 3 {
		im := ensure(t, s, Spec{Kernel: fmt.Sprintf("6.12.%d-other", i)})
		when := time.Now().Add(-time.Duration(i) * time.Hour) // the last is the oldest
		if err := os.Chtimes(filepath.Join(im.Dir(), usedFile), when, when); err != nil {
			t.Fatal(err)
		}
		others = append(others, im)
	}
	others[0].Close()
	others[1].Close()
	if gone, err := s.Prune(DefaultLimit); err != nil || len(gone) > 0 {
		t.Errorf("Prune of a small store removed %q, %v", gone, err)
	}
	size, err := s.Size()
	if err != nil {
		t.Fatal(err)
	}
	gone, err := s.Prune(size - 1)
	if want := []string{"6.12.1-other"}; err != nil || !slices.Equal(gone, want) {
		t.Errorf("Prune removed %q, %v; want the oldest that is not in use, %q", gone, err, want)
	}
	gone, err = s.Prune(0)
	if want := []string{"6.12.0-other"}; err != nil || !slices.Equal(gone, want) {
		t.Errorf("Prune(0) removed %q, %v; want %q: the default and what is in use stay", gone, err, want)
	}
	// Who uses one can go on.
	if _, err := others[2].Initramfs(staticProgram(t)); err != nil {
		t.Errorf("a guest in use after Prune: %v", err)
	}
	others[2].Close()
	t.Setenv("NVLAB_STORE_LIMIT", "1")
	ensure(t, s, Spec{Packages: []string{"fio"}})
	if list, err := s.List(); err != nil || len(list) != 2 {
		t.Errorf("a build in a store that is too large left %d guests, %v; want the default and its own", len(list), err)
	}
}

// TestPruneRemovesWhatDiedLeft: files of a writer that was killed, and folders of
// earlier versions.
func TestPruneRemovesWhatDiedLeft(t *testing.T) {
	newRepo(t)
	s := open(t, t.TempDir())
	im := ensure(t, s, Spec{})
	old := time.Now().Add(-2 * writing)
	left := map[string]bool{filepath.Join(im.Dir(), ".new-1"): false, filepath.Join(im.Dir(), "initrds"): false, filepath.Join(s.Dir(), "apt"): false, filepath.Join(im.Dir(), ".new-2"): true}
	for name, young := range left {
		if err := os.Mkdir(name, 0o755); err != nil {
			t.Fatal(err)
		}
		if !young {
			if err := os.Chtimes(name, old, old); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := s.Prune(DefaultLimit); err != nil {
		t.Fatal(err)
	}
	for name, young := range left {
		if _, err := os.Stat(name); (err == nil) != young {
			t.Errorf("after Prune %s is there: %v, want %v", filepath.Base(name), err == nil, young)
		}
	}
	im.Close()
	ensure(t, s, Spec{})
}

// TestReplacedGuestGoesOn reads an initramfs whose guest was built anew.
func TestReplacedGuestGoesOn(t *testing.T) {
	newRepo(t)
	s := open(t, t.TempDir())
	im := ensure(t, s, Spec{})
	initramfs, err := im.Initramfs(staticProgram(t))
	if err != nil {
		t.Fatal(err)
	}
	defer initramfs.Close()
	read := func() []byte {
		b, err := io.ReadAll(io.NewSectionReader(initramfs, 0, initramfs.Size()))
		if err != nil {
			t.Error(err)
		}
		return b
	}
	before := read()
	ensure(t, s, Spec{Rebuild: true})
	if !bytes.Equal(read(), before) {
		t.Error("the initramfs of a guest that was built anew has changed")
	}
	if err := os.RemoveAll(s.dir); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(read(), before) {
		t.Error("the initramfs of a guest that is gone has changed")
	}
}

// TestStoreSurvives does to a store what befalls stores, at random: builders are
// killed, run two at a time, find the disk full; files are damaged. After each
// the next run has the guest that it should have.
func TestStoreSurvives(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("NVLAB_SEED"); text != "" {
		fmt.Sscan(text, &seed)
	}
	rounds := 12
	if text := os.Getenv("NVLAB_SOAK"); text != "" {
		rounds = 300
	}
	r := newRepo(t)
	random := rand.New(rand.NewPCG(seed, 0))
	s := open(t, t.TempDir())
	good := contents(t, ensure(t, s, Spec{}).Dir())
	for i := range rounds {
		var did []string
		for range 1 + random.IntN(3) {
			did = append(did, befall(t, r, s, random))
		}
		what := fmt.Sprintf("round %d of NVLAB_SEED=%d: %s", i, seed, strings.Join(did, ", "))
		t.Log(what)
		r.behave("")
		im, err := s.Ensure(context.Background(), Spec{}, nil)
		if err != nil {
			t.Fatalf("%s: the next run: %v", what, err)
		}
		if !equal(contents(t, im.Dir()), good) || !im.Default {
			t.Fatalf("%s: the next run has another guest", what)
		}
		im.Close()
		if _, err := s.Prune(DefaultLimit); err != nil {
			t.Fatalf("%s: prune: %v", what, err)
		}
		entries, err := os.ReadDir(s.dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if !slices.Contains([]string{"guests", "downloads", "lists", "lock"}, e.Name()) {
				t.Fatalf("%s: %s was left behind", what, e.Name())
			}
		}
	}
}

// befall does one thing to a store and says what.
func befall(t *testing.T, r *repo, s *Store, random *rand.Rand) string {
	start := func(env ...string) func(kill bool) {
		cmd := builderProcess(t, s.dir, env...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return func(kill bool) {
			if kill {
				cmd.Process.Kill()
			}
			cmd.Wait()
		}
	}
	clean := func() {
		if random.IntN(2) == 0 {
			os.RemoveAll(filepath.Join(s.guests(), testRelease))
		}
		if random.IntN(3) == 0 {
			os.RemoveAll(s.downloads())
		}
	}
	switch random.IntN(5) {
	case 0:
		clean()
		mode := []string{"", "slow", "hangs", "cut"}[random.IntN(4)]
		r.behave(mode)
		end := start()
		after := time.Duration(random.IntN(200)) * time.Millisecond
		time.Sleep(after)
		end(true)
		r.behave("")
		return fmt.Sprintf("a builder was killed after %v of a mirror that is %q", after, mode)
	case 1:
		clean()
		one, two := start(), start()
		kill := random.IntN(2) == 0
		if kill {
			time.Sleep(time.Duration(random.IntN(100)) * time.Millisecond)
		}
		one(kill)
		two(false)
		return fmt.Sprintf("two built at once, the first was killed: %v", kill)
	case 2:
		clean()
		limit := random.IntN(200000)
		start(fmt.Sprintf("%s=%d", fileLimit, limit))(false)
		return fmt.Sprintf("files had at most %d bytes", limit)
	}
	var files []string
	filepath.WalkDir(s.dir, func(name string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if info, err := d.Info(); err == nil && info.Size() > 1 {
				files = append(files, name)
			}
		}
		return nil
	})
	if len(files) == 0 {
		return "nothing"
	}
	file, damage := files[random.IntN(len(files))], damages[random.IntN(len(damages))]
	if err := damage.do(file, random); err != nil {
		t.Fatal(err)
	}
	rel, _ := filepath.Rel(s.dir, file)
	return fmt.Sprintf("%s: %s", rel, damage.name)
}
