package run

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// repeat is the command that runs one test again as it ran, with one crash
// state if that failed. A Command that was given a state has it in its arguments.
func (o *Options) repeat(path, test, engine, state string) string {
	if len(o.Command) > 1 {
		args := slices.Clone(o.Command)
		if state != "" && state != o.State {
			args = slices.Insert(args, 2, "--state", state)
		}
		return CommandLine(args)
	}
	args := []string{"nvlab", "run", "--engine", engine, "-seed", fmt.Sprint(o.Seed)}
	add := func(flag, value string) {
		if value != "" {
			args = append(args, flag, value)
		}
	}
	add("--kernel", o.Kernel)
	add("--release", o.Release)
	add("--cache", o.Cache)
	add("--agent", o.Agent)
	add("--cmdline", o.Cmdline)
	for _, dir := range o.AllowPaths {
		add("--allow-path", dir)
	}
	if o.Steps > 0 {
		add("--max-steps", fmt.Sprint(o.Steps))
	}
	add("--state", state)
	add("-skip", o.Skip)
	return CommandLine(append(args, "-run", exactly(test), path))
}

// CommandLine is a command as one types it into a shell.
func CommandLine(args []string) string {
	words := make([]string, len(args))
	for i, a := range args {
		words[i] = ShellQuote(a)
	}
	return strings.Join(words, " ")
}

// exactly is the expression that takes a test alone.
func exactly(test string) string {
	levels := strings.Split(test, "/")
	for i, level := range levels {
		levels[i] = "^" + regexp.QuoteMeta(level) + "$"
	}
	return strings.Join(levels, "/")
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_@%+=:,./-]+$`)

// ShellQuote is a word as one types it into a shell.
func ShellQuote(s string) string {
	if plainWord.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
