package run

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"nvlab/lab"
	nvstar "nvlab/starlark"
)

// artifacts is the folder for what failed tests leave. It is made when the
// first test fails.
type artifacts struct {
	mu   sync.Mutex
	base string
	made bool
	used int64           // bytes of copies
	full map[string]bool // folders that belong to a test, and do not only hold its subtests'
	logs logs
}

// folderMade is the folder, "" if no test failed.
func (a *artifacts) folderMade() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.made {
		return ""
	}
	return a.base
}

// folder makes the folder of a test: base/scenario/test/subtest, with a number
// if it is there already.
func (a *artifacts) folder(scenario, test string) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.made {
		if a.base == "" {
			dir, err := os.MkdirTemp("", "nvlab-artifacts-")
			if err != nil {
				return "", err
			}
			a.base = dir
		} else if err := os.MkdirAll(a.base, 0o755); err != nil {
			return "", err
		}
		a.made = true
	}
	dir := filepath.Join(a.base, fileName(strings.TrimSuffix(filepath.Base(scenario), ".star")), filepath.Join(fileNames(test)...))
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", err
	}
	if a.full == nil {
		a.full = make(map[string]bool)
	}
	for outer := filepath.Dir(dir); len(outer) > len(a.base); outer = filepath.Dir(outer) {
		if _, there := a.full[outer]; !there {
			a.full[outer] = false // it is there for this subtest
		}
	}
	if full, there := a.full[dir]; there && !full {
		a.full[dir] = true
		return dir, nil
	}
	dir, err := newFolder(dir)
	a.full[dir] = true
	return dir, err
}

// newFolder makes a folder, with a number to its name if it is there already.
func newFolder(path string) (string, error) {
	for name, n := path, 2; ; name, n = fmt.Sprintf("%s-%d", path, n), n+1 {
		if err := os.Mkdir(name, 0o755); !errors.Is(err, os.ErrExist) {
			return name, err
		}
	}
}

func fileNames(test string) []string {
	var names []string
	for part := range strings.SplitSeq(test, "/") {
		names = append(names, fileName(part))
	}
	return names
}

// fileName is a name that any file system takes.
func fileName(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == '-' || r == '_' || r == '.' || r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' {
			return r
		}
		return '_'
	}, s)
	if strings.Trim(s, ".") == "" {
		return "_" + s
	}
	return s[:min(len(s), 200)]
}

// dmesgTime is how long a guest may take to give its log for the record.
const dmesgTime = 5 * time.Second

// keep saves what helps to understand a failure: its text, and the console,
// kernel log and backends of machines that are still there.
// was has what files held before the test. The end of ctx ends it.
func (a *artifacts) keep(ctx context.Context, was map[string]*fingerprint, scenario, test, text string, o *nvstar.Outcome, x *lab.Experiment) (dir string, err error) {
	if dir, err = a.folder(scenario, test); err != nil {
		return "", err
	}
	save := func(name, text string) {
		if text != "" && err == nil {
			err = os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644)
		}
	}
	save("result.txt", text)
	for _, f := range o.Failures {
		save("stack.txt", f.Stack)
	}
	if x == nil {
		return dir, err
	}
	for _, v := range o.Evidence.VMs {
		a.keepMachine(ctx, dir, test, v, save)
	}
	saved := make(map[string]string) // by file: backends may share one
	for _, b := range o.Evidence.Backends {
		path := b.Path()
		if path == "" {
			continue
		}
		to := saved[path]
		if to == "" {
			to = unused(filepath.Join(dir, filepath.Base(path)))
			saved[path] = to
			err = errors.Join(err, a.keepFile(ctx, path, to, x.Dir(), was[path]))
		}
		if b.Copied() { // the file is what it was before crash states
			err = errors.Join(err, a.keepState(ctx, b, unused(to+".crash")))
		}
	}
	return dir, err
}

// unused is a path with a number before its extension, if the path is taken.
func unused(path string) string {
	ext := filepath.Ext(path)
	for name, n := path, 2; ; name, n = fmt.Sprintf("%s-%d%s", strings.TrimSuffix(path, ext), n, ext), n+1 {
		if _, err := os.Lstat(name); errors.Is(err, os.ErrNotExist) {
			return name
		}
	}
}

// Artifacts have at most so many bytes of one backend, and of all of a run.
// Links to a test's own files take no room.
var (
	fileRoom int64 = 256 << 20
	runRoom  int64 = 1 << 30
)

// A leftOutError says that a backend was too large to be kept whole.
type leftOutError struct {
	path string
	left int64 // bytes of data
	of   string
}

func (e *leftOutError) Error() string {
	return fmt.Sprintf("%s: %d MiB of %s are left out: a run keeps at most %d MiB of a backend, and %d MiB of all",
		e.path, (e.left+1<<20-1)>>20, e.of, fileRoom>>20, runRoom>>20)
}

// take says how many bytes there is room for, and calls f with them. What f
// used is gone.
func (a *artifacts) take(f func(room int64) (used int64, err error)) error {
	a.mu.Lock()
	room := min(fileRoom, runRoom-a.used)
	a.used += room
	a.mu.Unlock()
	used, err := f(room)
	a.mu.Lock()
	a.used -= room - used
	a.mu.Unlock()
	return err
}

// keepFile keeps a backend's file: by a link if it is the test's own and about
// to lose its name, by what the test changed if it was there before, else by a
// copy.
func (a *artifacts) keepFile(ctx context.Context, path, to, testDir string, was *fingerprint) error {
	if rel, err := filepath.Rel(testDir, path); err == nil && filepath.IsLocal(rel) && os.Link(path, to) == nil {
		return nil
	}
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no regular file: what it holds is left out", path)
	}
	if was == nil {
		return a.take(func(room int64) (int64, error) { return copySparse(ctx, path, to, room, "its data") })
	}
	return a.take(func(room int64) (int64, error) { return was.copyChanges(ctx, path, to+".changed", room) })
}

// keepState keeps what a backend holds that is no longer its file.
func (a *artifacts) keepState(ctx context.Context, b *lab.Backend, to string) error {
	data, err := dataOf(b.Path())
	if err != nil {
		return err
	}
	return a.take(func(room int64) (int64, error) {
		if n := total(data); n > room {
			return 0, &leftOutError{b.Path(), n, "its crash state"}
		}
		return total(data), b.Save(ctx, to)
	})
}
