// Package nvlabtest has commands and conditions for testscript suites of
// nvlab, its own and others'.
//
//	func TestMain(m *testing.M) { nvlabtest.Main(m) }
//
//	func TestScripts(t *testing.T) {
//		testscript.Run(t, nvlabtest.Params("testdata/script"))
//	}
//
// Main makes nvlab a command of the scripts: "exec nvlab run x.star". The
// module that the suite is in requires nvlab's.
//
// Commands beside testscript's own ([!] says which may be negated):
//
//	mkbackend FILE SIZE [zeros|text=TEXT@OFFSET|label=VERSION[:SIZE]|namespace=NAME:SIZE]...
//	    makes a sparse file; label writes an empty label area of version 1.1
//	    or 1.2 at its end (128K unless SIZE is given), namespace a label in it
//	truncate FILE SIZE
//	[!] hexcmp FILE OFFSET HEX
//	    compares bytes at an offset
//	hexdump FILE OFFSET LENGTH
//	    prints bytes as rows of 16, for cmp stdout
//	labels FILE [SIZE]
//	    prints the decoded label area at a file's end
//	[!] backend-cmp FILE1 FILE2
//	    compares backends, and names the structure that differs first
//	normjson [FILE]
//	    prints JSON, of the last stdout without FILE, in canonical form:
//	    UUIDs are uuid1, uuid2..., times and durations are dropped
//	expand FILE...
//	    replaces $WORK in files by the script's folder
//	exits STATUS COMMAND [ARG...]
//	    runs a command that must end with this exit status
//	vm STATUS COMMAND [ARG...]
//	    the same for a command that starts machines: it waits for its turn,
//	    and has the user's guests
//	waitfile FILE
//	    waits until a file is there, made by a command in the background
//	freshtmp
//	    fails unless the folder of temporary files is empty
//
// Conditions:
//
//	[vm]     machines may be started: not with -short, and on Linux
//	[guest]  the default guest is there; the first vm makes it otherwise
//	[kvm]    the KVM engine runs here
//	[root]   this is the superuser
package nvlabtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"nvlab/guest"
	"nvlab/lab"
)

// Main builds the command nvlab of the required module with the go command, puts
// it first on the PATH, and runs the tests. It does not return.
func Main(m *testing.M) {
	dir, err := os.MkdirTemp("", "nvlabtest")
	if err == nil {
		err = build(filepath.Join(dir, "nvlab"))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	os.Setenv("PATH", dir+string(filepath.ListSeparator)+os.Getenv("PATH"))
	status := m.Run()
	os.RemoveAll(dir)
	os.Exit(status)
}

func build(path string) error {
	cmd := exec.Command("go", "build", "-o", path, "nvlab/cmd/nvlab")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // it is also the guest's pid 1
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w\n%s", cmd, err, out)
	}
	return nil
}

// Params are those of a suite in a folder. XDG_CACHE_HOME of its scripts is an
// empty folder, so that they cannot touch the user's guests; vm gives them to
// its command. A command in the background takes them with
// "env XDG_CACHE_HOME=$GUESTS".
func Params(dir string) testscript.Params {
	return testscript.Params{
		Dir:                 dir,
		Cmds:                commands(),
		Condition:           condition,
		Setup:               setup,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       os.Getenv("NVLAB_UPDATE") != "",
	}
}

func setup(env *testscript.Env) error {
	env.Setenv("XDG_CACHE_HOME", filepath.Join(env.WorkDir, ".cache"))
	env.Setenv("NVLAB_UPDATE", "")
	env.Setenv("NVLAB_REUSE", "off") // a suite computes what it tests
	dir, err := guest.DefaultDir()
	env.Setenv("GUESTS", filepath.Dir(dir))
	return err
}

func condition(cond string) (bool, error) {
	switch cond {
	case "vm":
		return !testing.Short() && runtime.GOOS == "linux", nil
	case "guest":
		store, err := guest.Open("")
		if err != nil {
			return false, nil
		}
		_, err = store.Lookup(guest.Spec{})
		return err == nil, nil
	case "kvm":
		for _, p := range lab.Probe() {
			if p.Engine == "kvm" {
				return p.OK, nil
			}
		}
		return false, nil
	case "root":
		return os.Geteuid() == 0, nil
	}
	return false, fmt.Errorf("there is no condition %q: want vm, guest, kvm or root", cond)
}
