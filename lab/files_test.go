package lab

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"nvlab/guest/proto"
)

// TestPulledTreeStaysWhereItBelongs: whatever a guest sends, only what lies
// below the target changes.
func TestPulledTreeStaysWhereItBelongs(t *testing.T) {
	file := proto.Entry{Mode: proto.ModeRegular | 0o644, Size: 5}
	dir, link := proto.Entry{Mode: proto.ModeDir | 0o755}, proto.Entry{Mode: proto.ModeSymlink | 0o777}
	at := func(e proto.Entry, path, link string) proto.Entry {
		e.Path, e.Link = path, link
		return e
	}
	for _, tt := range []struct {
		name    string
		entries []proto.Entry
		bad     bool
	}{
		{"a link to a folder outside", []proto.Entry{dir, at(link, "l", "../outside"), at(file, "l/stolen", "")}, true},
		{"an absolute link", []proto.Entry{dir, at(link, "l", "ABS"), at(file, "l/stolen", "")}, true},
		{"a link in the place of a folder", []proto.Entry{dir, at(dir, "d", ""), at(link, "d", "../outside"), at(file, "d/stolen", "")}, true},
		{"a folder through a link", []proto.Entry{dir, at(link, "l", "../outside"), at(dir, "l/stolen", "")}, true},
		{"a file in the place of a link", []proto.Entry{dir, at(link, "l", "../outside/kept"), at(file, "l", "")}, false},
		{"a file without a root", []proto.Entry{at(file, "x", "")}, true},
		{"two roots", []proto.Entry{file, file}, true},
		{"names with newlines", []proto.Entry{dir, at(file, "a\nb", ""), at(file, "-rf *", "")}, false},
		{"set-user-ID", []proto.Entry{dir, at(proto.Entry{Mode: proto.ModeRegular | 0o4755, Size: 5}, "s", "")}, false},
		{"a folder that nobody may enter", []proto.Entry{at(proto.Entry{Mode: proto.ModeDir}, "", ""), at(file, "x", "")}, false},
		{"a size beyond all files", []proto.Entry{dir, at(proto.Entry{Mode: proto.ModeRegular, Size: 1<<63 - 1}, "x", "")}, true},
	} {
		top := t.TempDir()
		outside := filepath.Join(top, "outside")
		if err := os.Mkdir(outside, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(outside, "kept"), []byte("kept"), 0o644); err != nil {
			t.Fatal(err)
		}
		tree, err := makeTree(filepath.Join(top, "target"))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range tt.entries {
			e.Link = strings.Replace(e.Link, "ABS", outside, 1)
			if err = tree.Entry(e); err != nil {
				break
			}
			if e.Mode&proto.ModeType == proto.ModeRegular {
				if err = tree.Extent(0, []byte("bytes")); err != nil {
					break
				}
			}
		}
		if cerr := tree.close(); err == nil {
			err = cerr
		}
		if (err != nil) != tt.bad {
			t.Errorf("%s: pulling = %v, want an error: %v", tt.name, err, tt.bad)
		}
		if got := list(t, outside); !slices.Equal(got, []string{"kept"}) {
			t.Errorf("%s: outside the target are %q, want only what was there", tt.name, got)
		}
		if b, err := os.ReadFile(filepath.Join(outside, "kept")); err != nil || string(b) != "kept" {
			t.Errorf("%s: the file outside is %q, %v, want it as it was", tt.name, b, err)
		}
		if info, err := os.Stat(filepath.Join(top, "target", "s")); err == nil && info.Mode()&fs.ModeSetuid != 0 {
			t.Errorf("%s: the host has a set-user-ID program of the guest's", tt.name)
		}
		os.Chmod(filepath.Join(top, "target"), 0o755)
	}
}

func list(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// TestPushAndPull: a tree comes back as it went.
func TestPushAndPull(t *testing.T) {
	t.Parallel()
	x := vmExperiment(t)
	v, _ := labelledVM(t, x)
	mustBoot(t, v)
	ctx := t.Context()
	put := func(name string, perm os.FileMode, data []byte) {
		name = filepath.Join(x.Dir(), name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, data, perm); err != nil {
			t.Fatal(err)
		}
	}
	put("tree/script", 0o755, []byte("#!/bin/sh\necho \"I run: $*\"\n"))
	put("tree/sub/a\nb", 0o600, bytes.Repeat([]byte("0123456789"), 20000))
	put("tree/sub/empty", 0o444, nil)
	for name, to := range map[string]string{"tree/link": "sub/empty", "tree/nowhere": "/no/such", "tree/up": "../.."} {
		if err := os.Symlink(to, filepath.Join(x.Dir(), name)); err != nil {
			t.Fatal(err)
		}
	}
	sparse := filepath.Join(x.Dir(), "tree/sparse")
	f, err := os.Create(sparse)
	if err == nil {
		_, err = f.WriteAt([]byte("end"), 1<<30)
	}
	if err != nil {
		t.Fatal(err)
	}
	f.Close()

	if err := v.Push(ctx, "tree", "/opt/new/tree", DefaultTimeout); err != nil {
		t.Fatalf("Push(tree) = %v", err)
	}
	if got := mustRun(t, v, "/opt/new/tree/script a b; readlink /opt/new/tree/nowhere; stat -c '%a %s' /opt/new/tree/sub/empty /opt/new/tree/sub/a*; du -k /opt/new/tree/sparse | cut -f1"); got != "I run: a b\n/no/such\n444 0\n600 200000\n4\n" {
		t.Errorf("in the guest the tree is %q", got)
	}
	if err := v.Pull(ctx, "/opt/new/tree", "back", DefaultTimeout); err != nil {
		t.Fatalf("Pull(tree) = %v", err)
	}
	sameTree(t, filepath.Join(x.Dir(), "tree"), filepath.Join(x.Dir(), "back"))
	var st syscall.Stat_t
	if err := syscall.Stat(filepath.Join(x.Dir(), "back/sparse"), &st); err != nil || st.Size != 1<<30+3 || st.Blocks > 1024 {
		t.Errorf("the sparse file has %d bytes in %d blocks, %v, want %d and its holes", st.Size, st.Blocks, err, 1<<30+3)
	}

	for _, tt := range []struct{ guest, host, file, want string }{
		{"/proc/version", "version", "version", "Linux version"},
		{"/etc/hostname", "some/", "some/hostname", "nvlab\n"},
		{"/dev/pmem0", "pmem", "pmem", "\x00"},
	} {
		if err := v.Pull(ctx, tt.guest, tt.host, DefaultTimeout); err != nil {
			t.Errorf("Pull(%s) = %v", tt.guest, err)
		}
		if b, err := os.ReadFile(filepath.Join(x.Dir(), tt.file)); err != nil || !strings.HasPrefix(string(b), tt.want) {
			t.Errorf("Pull(%s) brought %.20q, %v, want %q", tt.guest, b, err, tt.want)
		}
	}
	put("image", 0o644, []byte("on the device"))
	if err := v.Push(ctx, "image", "/dev/pmem0", DefaultTimeout); err != nil || mustRun(t, v, "head -c 13 /dev/pmem0") != "on the device" {
		t.Errorf("Push() to a device = %v, want its bytes there", err)
	}

	const memory = 256 << 20 // of the guest
	big := filepath.Join(x.Dir(), "big")
	if err := os.WriteFile(big, bytes.Repeat([]byte("big "), memory/4), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		err  error
		want string
	}{
		{"absent", v.Push(ctx, "absent", "/x", DefaultTimeout), "no such file"},
		{"outside", v.Push(ctx, "/etc/hostname", "/x", DefaultTimeout), "--allow-path"},
		{"pull outside", v.Pull(ctx, "/etc/hostname", "../x", DefaultTimeout), "--allow-path"},
		{"pull absent", v.Pull(ctx, "/absent", "x", DefaultTimeout), "no such file"},
		{"onto a folder", v.Push(ctx, "image", "/etc", DefaultTimeout), "is a folder: name the file"},
		{"pull onto a folder", v.Pull(ctx, "/etc/hostname", "tree", DefaultTimeout), "is a folder: name the file"},
		{"a character device", v.Pull(ctx, "/dev/zero", "x", DefaultTimeout), "neither a file nor a folder"},
		{"too big", v.Push(ctx, "big", "/big", DefaultTimeout), "give it more memory"},
		{"written too big", v.WriteFile(ctx, "/tmp/big", make([]byte, memory)), "/tmp/big"},
	} {
		if tt.err == nil || !strings.Contains(tt.err.Error(), tt.want) || ClassOf(tt.err) != ClassScenario {
			t.Errorf("%s: error %v of class %v, want the scenario's with %q", tt.name, tt.err, ClassOf(tt.err), tt.want)
		}
	}
	if got := mustRun(t, v, "ls /big /tmp/big 2>/dev/null; head -c 4 /tmp/big 2>/dev/null; echo alive"); !strings.HasSuffix(got, "alive\n") || strings.Contains(got, "big alive") {
		t.Errorf("after files that did not fit the guest says %q", got)
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if err := v.Push(cancelled, "big", "/big", DefaultTimeout); err == nil {
		t.Error("a cancelled Push() = nil")
	}
}

// sameTree compares names, types, permissions, links and content.
func sameTree(t *testing.T, want, got string) {
	t.Helper()
	count := 0
	err := filepath.WalkDir(want, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		count++
		other := filepath.Join(got, strings.TrimPrefix(name, want))
		a, err1 := os.Lstat(name)
		b, err2 := os.Lstat(other)
		if err1 != nil || err2 != nil || a.Mode() != b.Mode() {
			t.Errorf("%q came back with %v, %v, want mode %v", name, b, err2, a.Mode())
			return nil
		}
		if a.Mode()&fs.ModeSymlink != 0 {
			x, _ := os.Readlink(name)
			if y, _ := os.Readlink(other); x != y {
				t.Errorf("link %q came back to %q, want %q", name, y, x)
			}
		}
		if a.Mode().IsRegular() && a.Size() < 1<<20 {
			x, _ := os.ReadFile(name)
			if y, _ := os.ReadFile(other); !bytes.Equal(x, y) {
				t.Errorf("%q came back with other content", name)
			}
		}
		return nil
	})
	if err != nil || count < 8 {
		t.Errorf("compared %d files, %v", count, err)
	}
}
