package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"runtime/pprof"
	"strings"
	"syscall"
	"time"

	"golang.org/x/term"

	"nvlab/guest"
	"nvlab/internal/spell"
	nvstar "nvlab/starlark"
)

// Exit statuses that belong to no test.
const (
	exitOK    = 0
	exitFail  = 1
	exitUsage = 2
	exitHost  = 3
)

// A command is a subcommand.
type command struct {
	name  string
	args  string // of its usage line
	short string
	long  string
	run   func(ctx context.Context, c *command, args []string) int

	asked func(*flag.FlagSet) // is told of the flags in the place of a help's reader; may be nil
}

func commands() []*command {
	return []*command{initCommand, runCommand, pmemCommand, bundleCommand, mergeCommand, guestCommand, cacheCommand, labelCommand, acpiCommand, shellCommand, replCommand, doctorCommand, docCommand, fmtCommand, lspCommand, completionCommand, versionCommand}
}

// run runs nvlab with its arguments and returns the exit status.
func run(args []string) int { return stdout.settle(dispatch(args)) }

func dispatch(args []string) int {
	if len(args) == 0 {
		usage(os.Stderr)
		return exitUsage
	}
	name := strings.TrimLeft(args[0], "-")
	switch name {
	case "h", "help":
		return help(args[1:])
	}
	c := lookUp(name)
	if c == nil || name != args[0] && name != "version" {
		fmt.Fprintf(os.Stderr, "nvlab: there is no command %q%s\nrun 'nvlab help' for the commands\n", args[0], meantCommand(name))
		return exitUsage
	}
	ctx, stop := interruptible()
	defer stop()
	return c.run(ctx, c, args[1:])
}

func lookUp(name string) *command {
	for _, c := range commands() {
		if c.name == name {
			return c
		}
	}
	return nil
}

func meantCommand(name string) string {
	var names []string
	for _, c := range commands() {
		names = append(names, c.name)
	}
	if near := spell.Nearest(name, names); near != "" {
		return fmt.Sprintf(" (did you mean %q?)", near)
	}
	if strings.HasSuffix(name, ".star") {
		return fmt.Sprintf(" (did you mean \"run %s\"?)", name)
	}
	return ""
}

func usage(w io.Writer) {
	fmt.Fprint(w, "nvlab is a test lab for persistent memory.\n\nusage: nvlab COMMAND [arguments]\n\ncommands:\n")
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-10s %s\n", c.name, c.short)
	}
	fmt.Fprint(w, "\nrun 'nvlab help COMMAND' for its arguments, 'nvlab help -man' for a manual page\n")
}

const helpHelp = `usage: nvlab help [COMMAND]
       nvlab help -man

Lists the commands; or says what a command does, its flags and its exit status, as
nvlab COMMAND -h does. With -man writes the manual page, which has all of them.
nvlab doc explains the language of scenarios.
`

func help(args []string) int {
	switch {
	case len(args) == 0:
		usage(stdout)
		return exitOK
	case strings.TrimLeft(args[0], "-") == "man" && args[0] != "man":
		manual(stdout)
		return exitOK
	}
	if args[0] == helpWords {
		fmt.Fprint(stdout, helpHelp)
		return exitOK
	}
	c := lookUp(args[0])
	if c == nil {
		fmt.Fprintf(os.Stderr, "nvlab help: there is no command %q%s\n", args[0], meantCommand(args[0]))
		return exitUsage
	}
	interrupted, cancel := context.WithCancel(context.Background())
	cancel()
	return c.run(interrupted, c, []string{"-h"})
}

// interruptible returns a context that the first interrupt ends, with cause
// nvstar.ErrInterrupted; the second ends the process. A reader of the output
// that goes away ends the context, too, and so do SIGQUIT and its like, which show
// what the process does.
func interruptible() (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals, quit := make(chan os.Signal, 2), make(chan os.Signal, 2)
	pipe := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	signal.Notify(pipe, syscall.SIGPIPE)
	signal.Notify(quit, dumping...)
	go func() {
		select {
		case <-quit:
			pprof.Lookup("goroutine").WriteTo(os.Stderr, 2)
		case <-signals:
		case <-pipe:
		}
		cancel(nvstar.ErrInterrupted)
		select {
		case <-quit:
		case <-signals:
		}
		os.Exit(nvstar.Interrupted.Exit())
	}()
	return ctx, func() { signal.Stop(signals) }
}

// dumping are the signals that Go, left alone, answers with a dump and status 2.
// That includes those of the processor's exceptions where another process sends
// them; what this one brings about itself does not come this way (os/signal).
var dumping = []os.Signal{
	syscall.SIGQUIT, syscall.SIGABRT, syscall.SIGILL, syscall.SIGTRAP, syscall.SIGSYS,
	syscall.SIGBUS, syscall.SIGFPE, syscall.SIGSEGV,
}

// flags makes the set of a command's flags.
func (c *command) flags() *flag.FlagSet {
	fs := flag.NewFlagSet("nvlab "+c.name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	return fs
}

// parse reads flags before, between and after the operands, with one dash or
// two. ok is false if there is nothing left to do but to exit with the status.
func (c *command) parse(fs *flag.FlagSet, args []string) (operands []string, status int, ok bool) {
	for {
		rest, status, ok := c.parseBefore(fs, args)
		if !ok || len(rest) == 0 {
			return operands, status, ok
		}
		if at := len(args) - len(rest); at > 0 && args[at-1] == "--" {
			return append(operands, rest...), exitOK, true
		}
		operands, args = append(operands, rest[0]), rest[1:]
	}
}

// parseBefore reads flags before the operands only, and returns these.
func (c *command) parseBefore(fs *flag.FlagSet, args []string) (operands []string, status int, ok bool) {
	err := fs.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		if c.asked != nil {
			c.asked(fs)
		} else {
			c.help(stdout, fs)
		}
		return nil, exitOK, false
	case err != nil:
		return nil, c.misused("%s", flagError(fs, err.Error())), false
	}
	return fs.Args(), exitOK, true
}

var badValue = regexp.MustCompile(`^invalid (?:boolean )?value (".*") for (?:flag )?-(\S+): parse error$`)

// flagError says what package flag says of an error, and what would be right.
func flagError(fs *flag.FlagSet, msg string) string {
	if m := badValue.FindStringSubmatch(msg); m != nil {
		want := "a number of 0 or more"
		switch fs.Lookup(m[2]).Value.(flag.Getter).Get().(type) {
		case int:
			want = "a whole number"
		case bool:
			want = "true or false"
		case time.Duration:
			want = `a duration such as "90s" or "5m"`
		}
		return fmt.Sprintf("-%s %s: want %s", m[2], m[1], want)
	}
	return strings.Replace(msg, "flag provided but not defined:", "there is no flag", 1) + meantFlag(fs, msg)
}

func meantFlag(fs *flag.FlagSet, msg string) string {
	_, name, ok := strings.Cut(msg, "not defined: -")
	if !ok {
		return ""
	}
	var names []string
	fs.VisitAll(func(f *flag.Flag) { names = append(names, f.Name) })
	if near := spell.Nearest(name, names); near != "" {
		return fmt.Sprintf(" (did you mean -%s?)", near)
	}
	return ""
}

// misused reports an error in the arguments.
func (c *command) misused(format string, args ...any) int {
	fmt.Fprintf(os.Stderr, "nvlab %s: %s\nusage: nvlab %s\nrun 'nvlab help %s' for more\n", c.name, fmt.Sprintf(format, args...), strings.TrimSpace(c.name+" "+c.args), c.name)
	return exitUsage
}

// failed reports an error and returns a status: 130 if it is an interrupt.
func (c *command) failed(ctx context.Context, status int, err error) int {
	if context.Cause(ctx) == nvstar.ErrInterrupted {
		fmt.Fprintf(os.Stderr, "nvlab %s: interrupted\n", c.name)
		return nvstar.Interrupted.Exit()
	}
	fmt.Fprintf(os.Stderr, "nvlab %s: %v\n", c.name, err)
	return status
}

// flagColumn is how wide a flag and its argument may be beside their text.
const flagColumn = 20

func (c *command) help(w io.Writer, fs *flag.FlagSet) {
	fmt.Fprintf(w, "usage: nvlab %s\n\n%s\n", strings.TrimSpace(c.name+" "+c.args), c.long)
	first := true
	fs.VisitAll(func(f *flag.Flag) {
		if first {
			fmt.Fprint(w, "\nflags:\n")
			first = false
		}
		arg, text := flag.UnquoteUsage(f)
		text = strings.TrimPrefix(text, arg+": ") // a text that begins with its argument does not say it twice
		left := strings.TrimSpace(f.Name + " " + arg)
		if len(left) > flagColumn {
			left += fmt.Sprintf("\n%*s", 3+flagColumn, "")
		}
		fmt.Fprintf(w, "  -%-*s %s\n", flagColumn, left, text)
	})
}

// A list is a flag that may be given several times.
type list []string

func (l *list) String() string     { return strings.Join(*l, ",") }
func (l *list) Set(s string) error { *l = append(*l, s); return nil }

// progress shows a guest's making on the standard error.
func progress() guest.Progress {
	return guest.NewProgress(os.Stderr, term.IsTerminal(int(os.Stderr.Fd())))
}
