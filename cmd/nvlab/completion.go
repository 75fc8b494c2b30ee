package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	nvrun "nvlab/starlark/run"
)

var completionCommand = &command{
	name:  "completion",
	args:  "bash|zsh|fish",
	short: "write a shell's completions",
	long: `Writes what a shell needs to complete commands, flags and names. To have it now:

  bash:  source <(nvlab completion bash)
  zsh:   source <(nvlab completion zsh)
  fish:  nvlab completion fish | source

and for good, in a folder that the shell reads completions from:

  bash:  ~/.local/share/bash-completion/completions/nvlab
  zsh:   _nvlab, in a folder of $fpath
  fish:  ~/.config/fish/completions/nvlab.fish`,
}

var completions = map[string]func(io.Writer){"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion}

func init() {
	completionCommand.run = func(ctx context.Context, c *command, args []string) int {
		shells, status, ok := c.parse(c.flags(), args)
		switch {
		case !ok:
			return status
		case len(shells) != 1 || completions[shells[0]] == nil:
			return c.misused("of which shell? want bash, zsh or fish")
		}
		completions[shells[0]](stdout)
		return exitOK
	}
}

// helpWords are what stands where a command does, beside the commands.
const helpWords = "help"

func commandNames() (names []string) {
	for _, c := range commands() {
		names = append(names, c.name)
	}
	return names
}

// bashCompletion writes a function that looks at the command, the word before
// and the word that is typed.
func bashCompletion(w io.Writer) {
	names := strings.Join(append(commandNames(), helpWords), " ")
	fmt.Fprintf(w, `# Completions of nvlab for bash, made by nvlab completion bash.
_nvlab() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command=${COMP_WORDS[1]}
	local words= flags= files=
	if [ "$COMP_CWORD" = 1 ] || [ "$COMP_CWORD $command" = "2 help" ]; then
		COMPREPLY=($(compgen -W '%s' -- "$cur"))
		return
	fi
	case $command in
`, names)
	for _, d := range describe() {
		fmt.Fprintf(w, "\t%s)\n", d.name)
		var flags []string
		for _, f := range d.flags {
			flags = append(flags, f.name)
		}
		fmt.Fprintf(w, "\t\tflags='%s'", strings.Join(flags, " "))
		if d.files {
			fmt.Fprint(w, " files=1")
		}
		if d.words != nil {
			fmt.Fprintf(w, "\n\t\t[ \"$COMP_CWORD\" != 2 ] || words='%s'", strings.Join(d.words, " "))
		}
		fmt.Fprint(w, "\n\t\tcase ${prev/#--/-} in\n")
		for _, f := range d.flags {
			if f.arg != "" {
				files := ""
				if f.files {
					files = "1"
				}
				fmt.Fprintf(w, "\t\t-%s) flags= files=%s words='%s' ;;\n", f.name, files, strings.Join(f.words, " "))
			}
		}
		fmt.Fprint(w, "\t\tesac ;;\n")
	}
	fmt.Fprint(w, `	esac
	case $cur in
	--*) words+=${flags:+" $flags"} words=${words// / --} ;;
	-*) words+=${flags:+" $flags"} words=${words// / -} ;;
	esac
	COMPREPLY=($(compgen -W "$words" -- "$cur"))
	if [ -n "$files" ] && [ "${cur#-}" = "$cur" ]; then
		compopt -o filenames 2>/dev/null
		mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -f -- "$cur")
	fi
}
complete -F _nvlab nvlab
`)
}

// zshCompletion writes specifications of _arguments.
func zshCompletion(w io.Writer) {
	fmt.Fprint(w, "#compdef nvlab\n# Completions of nvlab for zsh, made by nvlab completion zsh.\n_nvlab() {\n\tif ((CURRENT == 2)); then\n\t\tlocal -a commands=(\n")
	for _, c := range commands() {
		fmt.Fprintf(w, "\t\t\t%s\n", nvrun.ShellQuote(c.name+":"+zshText(c.short)))
	}
	fmt.Fprintf(w, "\t\t\t'%s:show a command'\"'\"'s arguments'\n\t\t)\n\t\t_describe command commands\n\t\treturn\n\tfi\n", helpWords)
	fmt.Fprint(w, "\tlocal command=$words[2]\n\tshift words\n\t((CURRENT--))\n\tcase $command in\n")
	for _, d := range describe() {
		fmt.Fprintf(w, "\t%s)\n\t\t_arguments", d.name)
		for _, f := range d.flags {
			spec := fmt.Sprintf("*-%s[%s]", f.name, zshText(f.brief()))
			if f.arg != "" {
				spec += fmt.Sprintf(":%s:%s", zshText(f.arg), zshAction(f.words, f.files))
			}
			fmt.Fprintf(w, " \\\n\t\t\t%s", nvrun.ShellQuote(spec))
		}
		if d.words != nil {
			fmt.Fprintf(w, " \\\n\t\t\t%s", nvrun.ShellQuote("1:word:"+zshAction(d.words, false)))
		}
		if d.files {
			fmt.Fprintf(w, " \\\n\t\t\t'*:file:_files'")
		}
		fmt.Fprint(w, " ;;\n")
	}
	fmt.Fprintf(w, "\t%s)\n\t\t_arguments '1:command:(%s)' ;;\n\tesac\n}\n", helpWords, strings.Join(commandNames(), " "))
	fmt.Fprint(w, "if [ \"$funcstack[1]\" = _nvlab ]; then\n\t_nvlab \"$@\"\nelse\n\tcompdef _nvlab nvlab\nfi\n")
}

func zshText(s string) string {
	return strings.NewReplacer(`\`, `\\`, ":", `\:`, "[", `\[`, "]", `\]`).Replace(s)
}

func zshAction(words []string, files bool) string {
	switch {
	case files:
		return "_files"
	case words != nil:
		return "(" + strings.Join(words, " ") + ")"
	}
	return " " // it wants an argument, of which nothing is known
}

// fishCompletion writes a complete command for each thing there is.
func fishCompletion(w io.Writer) {
	fmt.Fprint(w, "# Completions of nvlab for fish, made by nvlab completion fish.\ncomplete -c nvlab -f\n")
	first := "-n __fish_use_subcommand"
	for _, c := range commands() {
		fmt.Fprintf(w, "complete -c nvlab %s -a %s -d %s\n", first, c.name, fishQuote(c.short))
	}
	fmt.Fprintf(w, "complete -c nvlab %s -a %s -d %s\n", first, helpWords, fishQuote("show a command's arguments"))
	fmt.Fprintf(w, "complete -c nvlab -n '__fish_seen_subcommand_from %s' -a %s\n", helpWords, fishQuote(strings.Join(commandNames(), " ")))
	for _, d := range describe() {
		when := fmt.Sprintf("-n '__fish_seen_subcommand_from %s'", d.name)
		if d.words != nil {
			when1 := fmt.Sprintf("-n '__fish_seen_subcommand_from %s; and test (count (commandline -opc)) = 2'", d.name)
			fmt.Fprintf(w, "complete -c nvlab %s -a %s\n", when1, fishQuote(strings.Join(d.words, " ")))
		}
		if d.files {
			fmt.Fprintf(w, "complete -c nvlab %s -F\n", when)
		}
		for _, f := range d.flags {
			takes := ""
			switch {
			case f.files:
				takes = " -r -F"
			case f.words != nil:
				takes = " -x -a " + fishQuote(strings.Join(f.words, " "))
			case f.arg != "":
				takes = " -x"
			}
			fmt.Fprintf(w, "complete -c nvlab %s -o %s%s -d %s\n", when, f.name, takes, fishQuote(f.brief()))
		}
	}
}

func fishQuote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}
