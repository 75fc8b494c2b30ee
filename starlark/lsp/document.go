package lsp

import (
	"errors"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"go.starlark.net/syntax"

	"nvlab/starlark/guard"
)

// A document is a scenario as an editor has it.
type document struct {
	path  string
	text  string
	lines []string
	tree  *syntax.File // what it says; if it cannot be read, what it said when it could; may be nil
	read  bool         // the tree is the text's
}

func newDocument(path, text string, before *document) *document {
	d := &document{path: path, text: text, lines: strings.Split(text, "\n")}
	d.tree = parse(path, text)
	if d.read = d.tree != nil; !d.read && before != nil {
		d.tree = before.tree
	}
	if d.tree == nil {
		d.tree = mend(path, d.lines)
	}
	return d
}

// maxMends bounds the lines of a text that mend leaves out.
const maxMends = 16

// mend is what a text says but for lines that cannot be read; nil if there are too
// many of them.
func mend(path string, lines []string) *syntax.File {
	lines = slices.Clone(lines)
	left := map[int]bool{}
	for range maxMends {
		text := strings.Join(lines, "\n")
		if len(text) > guard.MaxSource {
			return nil
		}
		_, err := new(syntax.FileOptions).Parse(path, text, 0)
		var wrong syntax.Error
		if !errors.As(err, &wrong) {
			return parse(path, text)
		}
		// A line that is not whole is found out where the next one begins.
		n := min(int(wrong.Pos.Line)-1, len(lines)-1)
		for n >= 0 && (left[n] || strings.TrimSpace(lines[n]) == "") {
			n--
		}
		if n < 0 {
			return nil
		}
		left[n] = true
		lines[n] = lines[n][:indent(lines[n])] + "pass"
	}
	return nil
}

// parse is nil for a text that is none of Starlark's, or too deep to walk.
func parse(path, text string) *syntax.File {
	if len(text) > guard.MaxSource {
		return nil
	}
	file, err := new(syntax.FileOptions).Parse(path, text, 0)
	if err != nil || guard.Tree(file) != nil {
		return nil
	}
	return file
}

// treeAt is what the document says but for a line that is being typed, counted
// from 1; nil if that cannot be told.
func (d *document) treeAt(line int) *syntax.File {
	if d.read || line > len(d.lines) {
		return d.tree
	}
	lines := append([]string(nil), d.lines...)
	old := lines[line-1]
	lines[line-1] = old[:indent(old)] + "pass"
	if file := parse(d.path, strings.Join(lines, "\n")); file != nil {
		return file
	}
	return d.tree
}

// indent is how many bytes of white space a line begins with.
func indent(line string) int { return len(line) - len(strings.TrimLeft(line, " \t")) }

// offset is where a position is in the text, in bytes: the nearest there is.
func (d *document) offset(p position) int {
	at := 0
	for i, line := range d.lines {
		if i == p.Line {
			return at + bytesOf(line, p.Character)
		}
		at += len(line) + 1
	}
	return len(d.text)
}

// bytesOf is how many bytes of a line that many units of UTF-16 are.
func bytesOf(line string, units int) int {
	for i, r := range line {
		if units <= 0 {
			return i
		}
		units--
		if r > 0xffff {
			units--
		}
	}
	return len(line)
}

// position is a place of the interpreter's, which counts runes from 1, as the
// protocol has it.
func (d *document) position(p syntax.Position) position {
	at := position{Line: max(int(p.Line)-1, 0)}
	if at.Line >= len(d.lines) {
		return at
	}
	runes := int(p.Col) - 1
	for _, r := range d.lines[at.Line] {
		if runes <= 0 {
			break
		}
		runes--
		at.Character++
		if r > 0xffff {
			at.Character++
		}
	}
	return at
}

// place is a position as the interpreter has it.
func (d *document) place(p position) (line, col int) {
	line = p.Line + 1
	if p.Line < len(d.lines) {
		text := d.lines[p.Line]
		return line, 1 + utf8.RuneCountInString(text[:bytesOf(text, p.Character)])
	}
	return line, 1
}

// word is the range of the name at a place, or of one letter.
func (d *document) word(p syntax.Position) span {
	start := d.position(p)
	end := start
	if start.Line < len(d.lines) {
		line := d.lines[start.Line]
		rest := line[bytesOf(line, start.Character):]
		n := len(rest) - len(strings.TrimLeftFunc(rest, isName))
		end.Character += max(n, min(1, len(rest)))
	}
	return span{start, end}
}

func isName(r rune) bool {
	return r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
}

// nodeSpan is where a part of the tree is.
func (d *document) nodeSpan(n syntax.Node) span {
	start, end := n.Span()
	return span{d.position(start), d.position(end)}
}

func pathOf(uri string) string {
	u, err := url.Parse(uri)
	if err != nil || u.Scheme != "file" {
		return uri
	}
	return filepath.FromSlash(u.Path)
}

func uriOf(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	return (&url.URL{Scheme: "file", Path: filepath.ToSlash(path)}).String()
}
