package nvlabtest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

type command = func(ts *testscript.TestScript, neg bool, args []string)

func commands() map[string]command {
	return map[string]command{
		"mkbackend":   positive(mkbackend),
		"truncate":    positive(truncate),
		"hexcmp":      hexcmp,
		"hexdump":     positive(hexdump),
		"labels":      positive(labels),
		"backend-cmp": backendCmp,
		"normjson":    positive(normjson),
		"expand":      positive(expand),
		"exits":       positive(exits),
		"vm":          positive(vm),
		"waitfile":    positive(waitfile),
		"freshtmp":    positive(freshtmp),
	}
}

// positive is a command that cannot be negated.
func positive(run func(ts *testscript.TestScript, args []string)) command {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg {
			ts.Fatalf("this command takes no !")
		}
		run(ts, args)
	}
}

// expand lets scenarios, which know no environment, name files of the script.
func expand(ts *testscript.TestScript, args []string) {
	if len(args) == 0 {
		ts.Fatalf("usage: expand FILE...")
	}
	for _, file := range args {
		text := strings.ReplaceAll(ts.ReadFile(file), "$WORK", ts.Getenv("WORK"))
		ts.Check(os.WriteFile(ts.MkAbs(file), []byte(text), 0o644))
	}
}

// exits runs a command and compares its exit status.
func exits(ts *testscript.TestScript, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: exits STATUS COMMAND [ARG...]")
	}
	want, err := strconv.Atoi(args[0])
	if err != nil {
		ts.Fatalf("exits: %q is no exit status", args[0])
	}
	got := 0
	err = ts.Exec(args[1], args[2:]...)
	var ended *exec.ExitError
	switch {
	case errors.As(err, &ended):
		got = ended.ExitCode()
	case err != nil:
		ts.Fatalf("exits: %v", err)
	}
	if got != want {
		ts.Fatalf("%s ended with status %d, want %d", args[1], got, want)
	}
}

// turn is held by whoever runs machines: a software CPU takes a core, and the
// scripts of a suite run all at once.
var turn = make(chan struct{}, 1)

func vm(ts *testscript.TestScript, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: vm STATUS COMMAND [ARG...]")
	}
	before := ts.Getenv("XDG_CACHE_HOME")
	ts.Setenv("XDG_CACHE_HOME", ts.Getenv("GUESTS"))
	defer ts.Setenv("XDG_CACHE_HOME", before)
	turn <- struct{}{}
	defer func() { <-turn }()
	exits(ts, args)
}

// waitTime is how long waitfile waits.
const waitTime = time.Minute

func waitfile(ts *testscript.TestScript, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: waitfile FILE")
	}
	path := ts.MkAbs(args[0])
	for end := time.Now().Add(waitTime); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if found, _ := filepath.Glob(path); len(found) > 0 {
			return
		}
	}
	ts.Fatalf("waitfile: %s did not come within %v", args[0], waitTime)
}

func freshtmp(ts *testscript.TestScript, args []string) {
	if len(args) != 0 {
		ts.Fatalf("usage: freshtmp")
	}
	entries, err := os.ReadDir(ts.Getenv("TMPDIR"))
	ts.Check(err)
	for _, e := range entries {
		ts.Fatalf("%s was left in the folder of temporary files", e.Name())
	}
}

// number reads an offset or a length: decimal, 0x..., or a size.
func number(ts *testscript.TestScript, text string) int64 {
	n, err := parseNumber(text)
	if err != nil {
		ts.Fatalf("%v", err)
	}
	return n
}

func parseNumber(text string) (int64, error) {
	shift := 0
	if len(text) > 1 {
		switch text[len(text)-1] {
		case 'K':
			shift = 10
		case 'M':
			shift = 20
		case 'G':
			shift = 30
		}
	}
	digits := text
	if shift > 0 {
		digits = text[:len(text)-1]
	}
	n, err := strconv.ParseInt(digits, 0, 64)
	if err != nil || n < 0 || n > 1<<62>>shift {
		return 0, fmt.Errorf("%q is no number of bytes: want one such as 4096, 0x1000, 128K or 64M", text)
	}
	return n << shift, nil
}
