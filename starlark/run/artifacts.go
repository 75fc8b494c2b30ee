package run

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
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
	return newFolder(dir)
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
const dmesgTime = 10 * time.Second

// keep saves what helps to understand a failure: its text, and the console,
// kernel log and backends of an experiment that is still there.
func (a *artifacts) keep(scenario, test, text string, failures []*nvstar.Failure, x *lab.Experiment) (dir string, err error) {
	if dir, err = a.folder(scenario, test); err != nil {
		return "", err
	}
	save := func(name, text string) {
		if text != "" && err == nil {
			err = os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644)
		}
	}
	save("result.txt", text)
	for _, f := range failures {
		save("stack.txt", f.Stack)
	}
	if x == nil {
		return dir, err
	}
	for _, v := range x.VMs() {
		save(fmt.Sprintf("console-%d.txt", v.Number()), v.Console())
		if v.State() == lab.Running {
			ctx, cancel := context.WithTimeout(context.Background(), dmesgTime)
			log, dmesgErr := v.Dmesg(ctx)
			cancel()
			if dmesgErr == nil {
				save(fmt.Sprintf("dmesg-%d.txt", v.Number()), log)
			}
		}
	}
	saved := make(map[string]string) // by file: backends may share one
	for _, b := range x.Backends() {
		path := b.Path()
		if path == "" {
			continue
		}
		to := saved[path]
		if to == "" {
			to = unused(filepath.Join(dir, filepath.Base(path)))
			saved[path] = to
			err = errors.Join(err, saveBackend(path, to, x.Dir()))
		}
		if b.Copied() { // the file is what it was before crash states
			err = errors.Join(err, b.Save(unused(to+".crash")))
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

// saveBackend keeps a backend's file: by a link if it is the test's own and
// about to lose its name, else by a sparse copy.
func saveBackend(path, to, testDir string) error {
	if rel, err := filepath.Rel(testDir, path); err == nil && filepath.IsLocal(rel) && os.Link(path, to) == nil {
		return nil
	}
	return copySparse(path, to)
}

// copySparse copies a file and leaves out its pages of zeros.
func copySparse(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer out.Close()
	page, zeros := make([]byte, 64<<10), make([]byte, 64<<10)
	size := int64(0)
	for {
		n, err := io.ReadFull(in, page)
		if n > 0 && !bytes.Equal(page[:n], zeros[:n]) {
			if _, err := out.WriteAt(page[:n], size); err != nil {
				return err
			}
		}
		size += int64(n)
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return out.Truncate(size)
		}
		if err != nil {
			return err
		}
	}
}
