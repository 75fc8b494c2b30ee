package lab

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"nvlab/guest"
	"nvlab/internal/require"
	"nvlab/nvdimm/persist"
	"nvlab/vmm/observe"
)

// storeSource stores to a device through a mapping of it.
const storeSource = `#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>

__attribute__((noinline)) void store_it(volatile long *to)
{
	*to = 0x1122334455667788;
}

int main(int argc, char **argv)
{
	int fd = open(argv[1], O_RDWR);
	volatile long *m = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (fd < 0 || m == MAP_FAILED)
		return 1;
	store_it(m);
	return 0;
}
`

// TestPlaceOfPrograms: what a trace tells of a program's store names the file
// and where in it, and its function and line if the host gave the file to the
// guest and that says so. Kernels keep what is mapped in lists and in trees.
func TestPlaceOfPrograms(t *testing.T) {
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		require.Missing(t, "GCC", "no gcc")
	}
	dir := t.TempDir()
	source := filepath.Join(dir, "stores.c")
	if err := os.WriteFile(source, []byte(storeSource), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, release := range []string{"", "bullseye", "forky"} {
		x := vmExperiment(t)
		for name, flags := range map[string][]string{"pie": {"-g", "-static-pie"}, "fixed": {"-g", "-static", "-no-pie"}, "bare": {"-s", "-static"}} {
			out, err := exec.Command(gcc, append(flags, "-O1", "-o", filepath.Join(x.Dir(), name), source)...).CombinedOutput()
			if err != nil {
				t.Fatalf("gcc: %v\n%s", err, out)
			}
		}
		b, err := x.RAMBackend(RAMBackendOptions{Size: 64 << 20})
		if err != nil {
			t.Fatal(err)
		}
		o := VMOptions{Release: release, Engine: "soft", Slots: 1, MaxMem: 1 << 30}
		if _, err := x.lab.image(t.Context(), o.guest()); err != nil && guest.Unreachable(err) {
			require.Missing(t, "KERNELS", "%v", err)
		}
		v, err := x.VM(o)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := v.Plug(PlugOptions{Backend: b, ID: "nvdimm1"}); err != nil {
			t.Fatal(err)
		}
		mustBoot(t, v)
		mustRun(t, v, "ndctl create-namespace -f -e namespace0.0 -m fsdax --map=mem >/dev/null && mkfs.ext4 -q -b 4096 /dev/pmem0 && mount -t ext4 -o dax /dev/pmem0 /mnt && truncate -s 4096 /mnt/file && dd if=/dev/zero of=/mnt/file bs=4096 count=1 conv=notrunc && mkdir -p /opt/bin")
		library := strings.TrimSpace(mustRun(t, v, "readlink -f /lib/x86_64-linux-gnu/libc.so.6"))
		if at := placeOf(t, v.image, library, "qsort"); v.image.programAt(library, at+1) != "qsort+0x1" {
			t.Errorf("release %q: %s has %q at qsort+1", release, library, v.image.programAt(library, at+1))
		}
		for name, want := range map[string]string{
			"pie":   `^pie\+0x[0-9a-f]+ \(store_it\+0x[0-9a-f]+, stores\.c:7\)$`,
			"fixed": `^fixed\+0x[0-9a-f]+ \(store_it\+0x[0-9a-f]+, stores\.c:7\)$`,
			"bare":  `^bare\+0x[0-9a-f]+$`,
		} {
			dir := "/opt/bin/"
			if name == "pie" { // a file system of its own
				dir = "/tmp/"
			}
			if err := v.Push(t.Context(), name, dir, time.Minute); err != nil {
				t.Fatal(err)
			}
			trace, err := v.Trace(t.Context(), Command{Args: []string{dir + name, "/mnt/file"}, Timeout: DefaultTimeout, Check: true})
			if err != nil {
				t.Fatal(err)
			}
			at, found := "", false
			search := persist.Search{At: persist.AtEnd, Limit: 64}
			for s := range search.States(trace.Journal) {
				for _, op := range append(s.Lost, s.Kept...) {
					if op.Size == 8 && op.Kind&observe.NonTemporal == 0 && op.PC>>63 == 0 && trace.Process(op.Process).Name == name {
						at, found = trace.Place(op.PC, op.Process), true
						if text := trace.DescribeStore(op); !strings.Contains(text, " at "+at+" by "+name+"[") {
							t.Errorf("release %q: the report of %s's store is %q, want %q in it", release, name, text, at)
						}
					}
				}
			}
			if !found || !regexp.MustCompile(want).MatchString(at) {
				t.Errorf("release %q: the store of %s is at %q (found: %v), want %s", release, name, at, found, want)
			}
		}
	}
}

// placeOf is where in the file of a package a function is.
func placeOf(t *testing.T, i *image, path, function string) uint64 {
	t.Helper()
	file, err := i.open(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := elf.NewFile(file)
	if err != nil {
		t.Fatal(err)
	}
	symbols, err := f.DynamicSymbols()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range symbols {
		for _, p := range f.Progs {
			if s.Name == function && p.Type == elf.PT_LOAD && s.Value >= p.Vaddr && s.Value-p.Vaddr < p.Filesz {
				return s.Value - p.Vaddr + p.Off
			}
		}
	}
	t.Fatalf("%s has no %s", path, function)
	return 0
}
