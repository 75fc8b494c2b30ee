package main

import (
	"context"
	"flag"
	"regexp"
	"slices"
	"strings"

	nvstar "nvlab/starlark"
)

// A description is what a command takes, for completions and the manual: made of
// what its help is made of.
type description struct {
	*command
	flags []flagDescription
	words []string // that its first operand may be
	files bool     // operands may be files or folders
}

type flagDescription struct {
	name, text string
	arg        string   // "" of a flag that is on or off
	words      []string // that the argument may be
	files      bool     // it is a file or a folder
}

// describe describes all commands.
func describe() (all []description) {
	for _, c := range commands() {
		d := description{command: c, words: c.words()}
		d.files = strings.Contains(c.args, "FILE") || strings.Contains(c.args, "JSON")
		c.flagSet().VisitAll(func(f *flag.Flag) {
			arg, text := flag.UnquoteUsage(f)
			d.flags = append(d.flags, flagDescription{f.Name, strings.TrimPrefix(text, arg+": "), arg, choices(arg), arg == "FILE" || arg == "DIR"})
		})
		all = append(all, d)
	}
	return all
}

// flagSet is the flags of a command, which its run function defines before it
// parses any.
func (c *command) flagSet() (fs *flag.FlagSet) {
	c.asked = func(of *flag.FlagSet) { fs = of }
	defer func() { c.asked = nil }()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	c.run(ctx, c, []string{"-h"})
	return fs
}

// words are what the first operand of a command may be.
func (c *command) words() []string {
	if c == docCommand {
		var names []string
		for _, t := range nvstar.Topics() {
			names = append(names, t.Name)
			for _, s := range t.Subs {
				names = append(names, s.Name)
			}
		}
		return names
	}
	for field := range strings.FieldsSeq(c.args) {
		if words := choices(field); words != nil {
			return words
		}
	}
	return nil
}

var choice = regexp.MustCompile(`^[a-z-]+(\|[a-zA-Z-]+)+$`)

// choices are the words of "on|off|SEED"; what has a capital stands for others.
func choices(arg string) []string {
	if !choice.MatchString(arg) {
		return nil
	}
	return slices.DeleteFunc(strings.Split(arg, "|"), func(w string) bool { return strings.ToLower(w) != w })
}

// brief is the beginning of a flag's text, which says what it does.
func (f *flagDescription) brief() string {
	text, _, _ := strings.Cut(f.text, ";")
	text, _, _ = strings.Cut(text, ". ")
	return text
}
