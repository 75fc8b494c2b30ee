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
	early map[[2]int32]string   // the same of a call whose outcome stands where a function is wanted: what takes it
	reads map[[2]int32]reading  // the same of a call whose first argument is an attribute
}

// A reading is an attribute as it stands in the source: of a name, or of what a
// call has just returned, whose name is "".
type reading struct{ name, attr string }

func (s *sources) add(name string, text []byte) *source {
	src := &source{lines: strings.Split(string(text), "\n"), calls: make(map[[2]int32][2]int32), early: make(map[[2]int32]string), reads: make(map[[2]int32]reading)}
	s.files[name] = src
	return src
}

// index notes where the calls of a file begin and end.
func (src *source) index(file *syntax.File) {
	syntax.Walk(file, func(n syntax.Node) bool {
		if call, ok := n.(*syntax.CallExpr); ok {
			start, end := call.Span()
			src.calls[place(call.Lparen)] = [2]int32{start.Line, end.Line}
			if len(call.Args) > 0 {
				if arg, ok := call.Args[0].(*syntax.DotExpr); ok {
					switch x := arg.X.(type) {
					case *syntax.Ident:
						src.reads[place(call.Lparen)] = reading{x.Name, arg.Name.Name}
					case *syntax.CallExpr:
						src.reads[place(call.Lparen)] = reading{"", arg.Name.Name}
					}
				}
			}
			if fn, ok := call.Fn.(*syntax.DotExpr); ok && len(call.Args) > 0 && (fn.Name.Name == "fails" || fn.Name.Name == "defer") {
				if arg, ok := call.Args[0].(*syntax.CallExpr); ok {
					src.early[place(arg.Lparen)] = dotted(fn)
				}
			}
		}
		return true
	})
}

func place(at syntax.Position) [2]int32 { return [2]int32{at.Line, at.Col} }

// tooEarly is what takes a function and was to be given what the call at a
// position returns, "" if the call is none such.
func (s *sources) tooEarly(at syntax.Position) string {
	if src := s.files[at.Filename()]; src != nil {
		return src.early[place(at)]
	}
	return ""
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
	if span, ok := src.calls[place(at)]; ok {
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
