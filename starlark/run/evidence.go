package run

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"nvlab/lab"
	nvstar "nvlab/starlark"
)

// machineName is how a report of a test calls a machine: by its number, with
// the test's name if it is another's.
func machineName(number int, owner, test string) string {
	if owner == test {
		return fmt.Sprint(number)
	}
	return fmt.Sprintf("%d of %s", number, owner)
}

// fileOf is the same for the name of a file: "console-1.txt", or
// "console-test_x-1.txt".
func fileOf(kind string, v nvstar.UsedVM, test string) string {
	owner := ""
	if v.Test != test {
		names := fileNames(v.Test)
		owner = names[len(names)-1] + "-"
	}
	return fmt.Sprintf("%s-%s%d.txt", kind, owner, v.Number())
}

// logs are the kernel logs that are still to be kept. A machine that a subtest
// used of a test around it gives its log when that test ends: to ask its guest
// before would change what the rest of the test sees of it.
type logs struct {
	mu   sync.Mutex
	wait map[*lab.VM][]string // paths
}

func (l *logs) later(v *lab.VM, path string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.wait == nil {
		l.wait = make(map[*lab.VM][]string)
	}
	l.wait[v] = append(l.wait[v], path)
}

// take writes the logs that wait for the machines of a test that ends.
func (l *logs) take(ctx context.Context, x *lab.Experiment) {
	for _, v := range x.VMs() {
		l.mu.Lock()
		paths := l.wait[v]
		delete(l.wait, v)
		l.mu.Unlock()
		if len(paths) == 0 {
			continue
		}
		if text := kernelLog(ctx, v); text != "" {
			for _, path := range paths {
				os.WriteFile(path, []byte(text), 0o644)
			}
		}
	}
}

// kernelLog is the log of a machine that runs, "" if there is none to get.
func kernelLog(ctx context.Context, v *lab.VM) string {
	if v.State() != lab.Running {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, dmesgTime)
	defer cancel()
	text, err := v.Dmesg(ctx)
	if err != nil {
		return ""
	}
	return text
}

// keepMachine saves what a machine of a failed test says.
func (a *artifacts) keepMachine(ctx context.Context, dir, test string, v nvstar.UsedVM, save func(name, text string)) {
	save(fileOf("console", v, test), v.Console())
	if v.Test != test {
		a.logs.later(v.VM, filepath.Join(dir, fileOf("dmesg", v, test)))
		return
	}
	save(fileOf("dmesg", v, test), kernelLog(ctx, v.VM))
}
