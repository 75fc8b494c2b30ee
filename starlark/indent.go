package nvstar

import (
	"fmt"
	"strings"

	"go.starlark.net/resolve"
	"go.starlark.net/syntax"
)

// mixedIndent finds blocks whose lines begin with tabs in one place and with
// spaces in another. To Starlark a tab reaches to the next multiple of 8
// columns, to an editor mostly not: the block that is seen is not the one that
// runs. Python 3 refuses it too.
func (src *source) mixedIndent(file *syntax.File) resolve.ErrorList {
	var errs resolve.ErrorList
	var block func(stmts []syntax.Stmt)
	block = func(stmts []syntax.Stmt) {
		first, line := "", int32(0)
		for _, s := range stmts {
			at, _ := s.Span()
			if margin, ok := src.margin(at); ok {
				switch {
				case line == 0:
					first, line = margin, at.Line
				case margin != first:
					errs = append(errs, resolve.Error{Pos: at, Msg: fmt.Sprintf("tabs and spaces are mixed: line %d of the same block is indented with %s, this one with %s",
						line, kindOfMargin(first), kindOfMargin(margin))})
					return
				}
			}
			switch s := s.(type) {
			case *syntax.DefStmt:
				block(s.Body)
			case *syntax.ForStmt:
				block(s.Body)
			case *syntax.WhileStmt:
				block(s.Body)
			case *syntax.IfStmt:
				block(s.True)
				block(s.False) // an elif is the only statement of its block
			}
		}
	}
	block(file.Stmts)
	return errs
}

// margin is what a line has before a position, if that is white space.
func (src *source) margin(at syntax.Position) (string, bool) {
	if at.Line < 1 || int(at.Line) > len(src.lines) {
		return "", false
	}
	line := src.lines[at.Line-1]
	margin := line[:len(line)-len(strings.TrimLeft(line, " \t"))]
	return margin, int(at.Col) == len(margin)+1
}

func kindOfMargin(margin string) string {
	tabs := strings.Count(margin, "\t")
	spaces := len(margin) - tabs
	switch {
	case tabs == 0:
		return plural(spaces, "space")
	case spaces == 0:
		return plural(tabs, "tab")
	}
	return plural(tabs, "tab") + " and " + plural(spaces, "space")
}

// mixes says that some lines of a file begin with tabs and some with spaces.
func (src *source) mixes() bool {
	tabs, spaces := false, false
	for _, line := range src.lines {
		margin := line[:len(line)-len(strings.TrimLeft(line, " \t"))]
		if strings.TrimSpace(line) != "" {
			tabs = tabs || strings.Contains(margin, "\t")
			spaces = spaces || strings.Contains(margin, " ")
		}
	}
	return tabs && spaces
}
