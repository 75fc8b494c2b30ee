package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"

	"golang.org/x/term"

	"nvlab/lab"
	nvstar "nvlab/starlark"
)

const promptHelp = `  EXPRESSION, STATEMENT   of the language; names of the test and its file count;
                          an open bracket goes on over lines, a block up to an empty one
  !COMMAND                runs in the guest of the test's VM
  shell                   gives a shell on the console of that guest, as it is: exit,
                          Ctrl-D or Ctrl-A X leaves it; shell NAME takes the VM of a variable
  help NAME               explains a name of the language: help vm.run
  vars                    the test's variables
  continue, Ctrl-D        the test goes on to its end, and the run to the next (Ctrl-C, too)
  quit                    the run ends with this test`

// A terminal is what is typed in a run, read by one reader: what is typed ahead of one
// prompt is for the next.
type terminal struct {
	keys   *keyboard
	in     *prompt
	raw    *term.Terminal // nil if it is none
	paused *nvstar.Paused // whose prompt it is
}

// pause is what nvlab run -pause does where a test fails, or asks for it.
func (t *terminal) pause(p *nvstar.Paused) (quit bool) {
	said := p.Test + " pauses; help lists what can be typed\n"
	if p.Why != "" {
		said = fmt.Sprintf("%s failed\n%s\nit stands where it failed; help lists what can be typed\n", p.Test, p.Why)
	}
	return t.talk(p, said, new(session))
}

// talk reads what is typed and answers, until the test is to go on.
func (t *terminal) talk(p *nvstar.Paused, said string, s *session) (quit bool) {
	in, done, err := t.open(p)
	if err != nil {
		fmt.Fprintf(os.Stderr, "nvlab: no prompt: %v\n", err)
		return false
	}
	defer done()
	fmt.Fprint(in, said)
	for {
		line, err := in.ReadLine()
		if err != nil {
			return !errors.Is(err, io.EOF)
		}
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		var shown string
		switch {
		case word == "":
		case word == "continue":
			return false
		case word == "quit":
			return true
		case word == "help" && rest == "":
			shown = promptHelp
			if s.saves {
				shown = replHelp
			}
		case word == "help":
			shown, err = nvstar.Doc(strings.TrimSpace(rest))
		case word == "vars":
			shown = strings.Join(p.Variables(), " ")
		case word == "save" && s.saves:
			shown, err = s.save(strings.TrimSpace(rest))
		case word == "shell" && (rest == "" || isName(rest)):
			err = t.shell(p, rest)
		case strings.HasPrefix(word, "!"):
			command := strings.TrimPrefix(strings.TrimSpace(line), "!")
			if shown, err = p.Guest(command, in.print); err == nil {
				s.ranInGuest(p, command)
			}
		default:
			if line, err = in.block(line); err == nil {
				shown, err = p.Eval(line+"\n", in.print)
			}
			if err == nil {
				s.ran(line, shown != "")
			}
		}
		if err != nil {
			shown = err.Error()
		}
		if shown = strings.TrimRight(shown, "\n"); shown != "" {
			in.print(shown)
		}
	}
}

// A prompt reads lines: with an editor, a history and completion on a terminal.
type prompt struct {
	io.Writer
	ReadLine func() (string, error)
	say      func(prompt string)
}

func (p *prompt) print(text string) { fmt.Fprintln(p, text) }

const (
	promptSign   = "nvlab> "
	continueSign = "  ...> "
)

// errDropped is of a statement whose end was not typed.
var errDropped = errors.New("the statement has no end, and was not run")

// block is a whole statement, which begins with line.
func (p *prompt) block(line string) (string, error) {
	if !nvstar.Unfinished(line) {
		return line, nil
	}
	p.say(continueSign)
	defer p.say(promptSign)
	for nvstar.Unfinished(line) {
		next, err := p.ReadLine()
		if errors.Is(err, io.EOF) {
			return line, errDropped
		}
		if err != nil {
			return line, err
		}
		line += "\n" + next
	}
	return strings.TrimRight(line, " \t\n"), nil
}

// open takes the terminal until done is called.
func (t *terminal) open(p *nvstar.Paused) (in *prompt, done func(), err error) {
	t.paused = p
	if t.keys == nil {
		t.keys = &keyboard{in: os.Stdin}
	}
	fd := int(os.Stdin.Fd())
	if !term.IsTerminal(fd) {
		if t.in == nil {
			t.in = linesPrompt(t.keys.lines(), os.Stdout)
		}
		return t.in, func() {}, nil
	}
	before, err := term.MakeRaw(fd)
	if err != nil {
		return nil, nil, err
	}
	if t.raw == nil {
		t.raw = term.NewTerminal(struct {
			io.Reader
			io.Writer
		}{t.keys.lines(), os.Stdout}, promptSign)
		t.raw.AutoCompleteCallback = func(line string, pos int, key rune) (string, int, bool) {
			if key != '\t' {
				return "", 0, false
			}
			return completeLine(t.paused, t.raw, line, pos)
		}
		t.in = &prompt{Writer: t.raw, say: t.raw.SetPrompt, ReadLine: func() (string, error) {
			if cols, rows, err := term.GetSize(fd); err == nil && cols > 0 {
				t.raw.SetSize(cols, rows)
			}
			return t.raw.ReadLine()
		}}
	}
	return t.in, func() { term.Restore(fd, before) }, nil
}

// shell connects the terminal to a guest until its shell ends.
func (t *terminal) shell(p *nvstar.Paused, name string) error {
	over := make(chan struct{})
	defer close(over)
	resized, stop := windowChanges()
	defer stop()
	out := &lastByte{w: os.Stdout}
	err := p.Shell(name, lab.Terminal{In: t.keys.until(over), Out: out, Name: os.Getenv("TERM"), Size: windowSize, Resized: resized})
	if out.last != 0 && out.last != '\n' {
		fmt.Fprint(os.Stdout, "\r\n") // the prompt has a line of its own
	}
	return err
}

// A lastByte keeps the last byte that was written, 0 if none was.
type lastByte struct {
	w    io.Writer
	last byte
}

func (l *lastByte) Write(p []byte) (int, error) {
	if len(p) > 0 {
		l.last = p[len(p)-1]
	}
	return l.w.Write(p)
}

func isName(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) }) < 0
}

// linesPrompt reads lines of what is no terminal.
func linesPrompt(r io.Reader, w io.Writer) *prompt {
	lines := bufio.NewScanner(r)
	sign := promptSign
	p := &prompt{Writer: w, say: func(s string) { sign = s }}
	p.ReadLine = func() (string, error) {
		fmt.Fprint(w, sign)
		if !lines.Scan() {
			fmt.Fprintln(w)
			if err := lines.Err(); err != nil {
				return "", err
			}
			return "", io.EOF
		}
		return lines.Text(), nil
	}
	return p
}

// completeLine goes on with the word before the cursor as far as it is clear, and
// lists what it may be otherwise.
func completeLine(p *nvstar.Paused, w io.Writer, line string, pos int) (string, int, bool) {
	start := strings.LastIndexFunc(line[:pos], func(r rune) bool {
		return r != '.' && r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}) + 1
	word := line[start:pos]
	found := p.Complete(word)
	if len(found) == 0 {
		return line, pos, true
	}
	common := found[0]
	for _, name := range found[1:] {
		for !strings.HasPrefix(name, common) {
			common = common[:len(common)-1]
		}
	}
	if common == word && len(found) > 1 {
		fmt.Fprintln(w, strings.Join(found, "  "))
	}
	return line[:start] + common + line[pos:], start + len(common), true
}
