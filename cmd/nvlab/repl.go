package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	nvstar "nvlab/starlark"
	nvrun "nvlab/starlark/run"
)

var replCommand = &command{
	name:  "repl",
	args:  "[flags]",
	short: "a prompt of the scenario language",
	long: `Gives a prompt of the language in a test of its own, t:

  ` + firstLine + `

makes a machine, vm.boot() boots it, !COMMAND runs in its guest, shell gives a shell
there, and save FILE writes what was typed as a scenario. The machines end with the
session.`,
}

// firstLine makes a machine that takes an NVDIMM.
const firstLine = `vm = t.vm(slots = 1, maxmem = "2GiB")`

const replHelp = `  EXPRESSION, STATEMENT   of the language: ` + firstLine + `, vm.boot()
                          an open bracket goes on over lines, a block up to an empty one
  !COMMAND                runs in the guest of the VM
  shell                   gives a shell on the console of that guest: exit, Ctrl-D or
                          Ctrl-A X leaves it; shell NAME takes the VM of a variable
  help NAME               explains a name of the language: help vm.run
  vars                    the names that were bound, and t
  save FILE               writes what was typed as a scenario
  quit, Ctrl-D            ends the session`

// replScenario is the test that the session is in. It names t.vm, so that there is
// a guest before somebody waits for one.
const replScenario = `def test_repl(t):
    _ = t.vm
    t.pause()
`

func init() {
	replCommand.run = func(ctx context.Context, c *command, args []string) int {
		o := nvrun.Options{Stdout: io.Discard, Stderr: os.Stderr, Progress: progress(), Reuse: reuseDefault()}
		fs := c.flags()
		c.runFlags(fs, &o)
		rest, status, ok := c.parse(fs, args)
		switch {
		case !ok:
			return status
		case len(rest) > 0:
			return c.misused("it takes flags only: nvlab run -pause is for scenarios")
		}
		if err := checkRun(&o); err != nil {
			return c.misused("%v", err)
		}
		const path = "repl.star"
		o.Paths, o.Texts = []string{path}, map[string]string{path: replScenario}
		o.Pause = func(p *nvstar.Paused) bool {
			new(terminal).talk(p, "t is the test; help lists what can be typed\n", &session{saves: true})
			return false
		}
		return nvrun.Run(ctx, o)
	}
}

// sessionIndent is the margin of what was typed within its test.
const sessionIndent = "    "

// A session is what was typed at a prompt, as statements of a scenario.
type session struct {
	saves      bool
	statements []string
}

// ran notes a statement, or an expression whose value was shown.
func (s *session) ran(line string, shown bool) {
	if shown && !strings.Contains(line, "\n") {
		line = "t.log(" + strings.TrimSpace(line) + ")"
	}
	s.statements = append(s.statements, nvstar.IndentStatements(line, sessionIndent))
}

func (s *session) ranInGuest(p *nvstar.Paused, command string) {
	if name, err := p.VM(); err == nil {
		s.ran(fmt.Sprintf("%s.run(%s, check = False).stdout", name, strconv.Quote(command)), true)
	}
}

// save writes a scenario, to a file that is not there yet.
func (s *session) save(path string) (said string, err error) {
	switch {
	case filepath.Ext(path) != ".star":
		return "", errors.New("save FILE: the name of a scenario ends in .star")
	case len(s.statements) == 0:
		return "", errors.New("nothing was typed yet that could be saved")
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("%s is there already", path)
	}
	if err != nil {
		return "", err
	}
	_, err = fmt.Fprintf(f, "def test_session(t):\n%s\n", strings.Join(s.statements, "\n"))
	if closed := f.Close(); err == nil {
		err = closed
	}
	return path + " is written", err
}
