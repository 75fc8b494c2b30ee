package nvstar

import (
	"strings"

	"go.starlark.net/syntax"
)

// sources are the texts of the files loaded, for errors to quote. They change
// only while files are loaded.
type sources struct {
	files map[string]*source
}

type source struct {
	lines []string
	calls map[[2]int32][2]int32 // line and column of a call's parenthesis: its first and last line
}

func (s *sources) add(name string, text []byte) *source {
	src := &source{lines: strings.Split(string(text), "\n"), calls: make(map[[2]int32][2]int32)}
	s.files[name] = src
	return src
}

// index notes where the calls of a file begin and end.
func (src *source) index(file *syntax.File) {
	syntax.Walk(file, func(n syntax.Node) bool {
		if call, ok := n.(*syntax.CallExpr); ok {
			start, end := call.Span()
			src.calls[[2]int32{call.Lparen.Line, call.Lparen.Col}] = [2]int32{start.Line, end.Line}
		}
		return true
	})
}

// line is the line of a position, "" if the file is unknown.
func (s *sources) line(at syntax.Position) string {
	src := s.files[at.Filename()]
	if src == nil || at.Line < 1 || int(at.Line) > len(src.lines) {
		return ""
	}
	return strings.TrimRight(src.lines[at.Line-1], " \t\r")
}

// excerptLimit is how many lines of one call an error shows.
const excerptLimit = 8

// excerpt is the source at a position without its common indentation: the
// whole call if one stands there, else the line.
func (s *sources) excerpt(at syntax.Position) []string {
	src := s.files[at.Filename()]
	if src == nil || at.Line < 1 || int(at.Line) > len(src.lines) {
		return nil
	}
	first, last := at.Line, at.Line
	if span, ok := src.calls[[2]int32{at.Line, at.Col}]; ok {
		first, last = span[0], min(span[1], span[0]+excerptLimit-1, int32(len(src.lines)))
	}
	lines := src.lines[first-1 : last]
	indent := len(lines[0]) - len(strings.TrimLeft(lines[0], " \t"))
	out := make([]string, len(lines))
	for i, l := range lines {
		out[i] = strings.TrimRight(l[min(indent, len(l)-len(strings.TrimLeft(l, " \t"))):], " \t\r")
	}
	return out
}
