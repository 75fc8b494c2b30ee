package main

import (
	"context"
	"fmt"
	"os"
	"runtime"

	"nvlab/guest"
	"nvlab/guest/debian"
	"nvlab/lab"
)

var doctorCommand = &command{
	name:  "doctor",
	args:  "[--cache DIR]",
	short: "say what this host can do, and what it lacks",
	long: `Looks at the host: which engines run, whether there is a guest or a way to make
one, and where things are kept. Exit status 3 says that no scenario with a machine
can run.`,
}

// A finding is one line of the doctor's.
type finding struct {
	ok           bool
	fatal        bool // without it no machine runs
	what, advice string
}

func init() {
	doctorCommand.run = func(ctx context.Context, c *command, args []string) int {
		fs := c.flags()
		cache := fs.String("cache", "", "the `DIR` of guests")
		operands, status, ok := c.parse(fs, args)
		switch {
		case !ok:
			return status
		case len(operands) > 0:
			return c.misused("it takes no arguments")
		}
		findings := examine(*cache)
		for _, f := range findings {
			mark := "ok     "
			if !f.ok {
				mark = "missing"
			}
			fmt.Fprintf(stdout, "%s  %s\n", mark, f.what)
			if !f.ok && f.advice != "" {
				fmt.Fprintf(stdout, "         %s\n", f.advice)
			}
			if !f.ok && f.fatal {
				status = exitHost
			}
		}
		return status
	}
}

func examine(cache string) []finding {
	findings := []finding{{ok: true, what: fmt.Sprintf("host: %s/%s, %d cores", runtime.GOOS, runtime.GOARCH, runtime.NumCPU())}}
	for _, p := range lab.Probe() {
		findings = append(findings, finding{ok: p.OK, fatal: p.Engine == "soft", what: fmt.Sprintf("engine %s: %s", p.Engine, p.Detail), advice: p.Advice})
	}
	if l, err := lab.New(lab.Options{}); err == nil {
		engine, _ := l.Engine()
		findings = append(findings, finding{ok: true, what: fmt.Sprintf("scenarios run on engine %s, unless --engine or a test says otherwise", engine)})
	}
	return append(findings, examineGuests(cache)...)
}

// examineGuests looks for a guest, and for the means to make one.
func examineGuests(cache string) []finding {
	store, err := guest.Open(cache)
	if err != nil {
		return []finding{{fatal: true, what: err.Error(), advice: "name a folder with --cache or XDG_CACHE_HOME"}}
	}
	findings := []finding{{ok: true, what: "guests are kept in " + store.Dir()}}
	images, err := store.List()
	if err != nil {
		findings = append(findings, finding{what: err.Error()})
	}
	f := finding{ok: len(images) > 0, what: "no guest yet", advice: "nvlab guest build makes the default one; nvlab run does as well"}
	for _, im := range images {
		if im.Default || !f.ok {
			f.what = fmt.Sprintf("guest %s, kernel %s (of %d)", im.Name, im.KernelRelease, len(images))
		}
	}
	findings = append(findings, f)
	mirrors, err := debian.HostMirrors(context.Background())
	if err != nil {
		findings = append(findings, finding{what: err.Error()})
	} else {
		findings = append(findings, finding{ok: true, what: fmt.Sprintf("packages come from %s; the default release is %s", mirrors.Main[0], debian.HostRelease())})
	}
	if dir := os.TempDir(); dir != "" {
		_, err := os.Stat(dir)
		findings = append(findings, finding{ok: err == nil, fatal: true, what: "tests' directories are made in " + dir, advice: "set TMPDIR"})
	}
	return findings
}
