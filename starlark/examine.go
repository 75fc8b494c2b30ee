package nvstar

import (
	"go.starlark.net/resolve"
	"go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"nvlab/starlark/guard"
)

// examine parses a file, and finds what is wrong with it before it runs.
func (src *source) examine(path string, text []byte) (*syntax.File, error) {
	file, err := fileOptions.Parse(path, text, 0)
	if err != nil {
		return nil, err
	}
	if err := guard.Tree(file); err != nil {
		return nil, err
	}
	src.index(file)
	if errs := src.mixedIndent(file); errs != nil { // before anything is said of blocks that are others than they seem
		return nil, errs
	}
	if err := resolve.File(file, universe().Has, starlark.Universe.Has); err != nil {
		return nil, err
	}
	if errs := silent(file); errs != nil {
		return nil, errs
	}
	return file, nil
}

// A Problem is what is wrong at one place of a file.
type Problem struct {
	Pos     syntax.Position
	Message string
}

// Examine finds what is wrong with a scenario before it runs, without reading
// what it loads.
func Examine(path string, text []byte) (problems []Problem) {
	all := sources{make(map[string]*source)}
	src := all.add(path, text)
	_, err := src.examine(path, text)
	add := func(pos syntax.Position, msg string) {
		if hint := src.hint(msg, all.line(pos)); hint != "" {
			msg += "\nhint: " + hint
		}
		problems = append(problems, Problem{pos, msg})
	}
	switch e := err.(type) {
	case nil:
	case syntax.Error:
		add(e.Pos, e.Msg)
	case resolve.ErrorList:
		for _, one := range e {
			add(one.Pos, one.Msg)
		}
	default:
		add(syntax.MakePosition(&path, 1, 1), err.Error())
	}
	return problems
}
