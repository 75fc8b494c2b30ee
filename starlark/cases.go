package nvstar

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"go.starlark.net/starlark"

	"nvlab/starlark/guard"
)

// maxCases is how many tests one function may stand for.
const maxCases = 100_000

// A caseSet is what a parameter of a test takes, one value in each of the tests
// that its function stands for. It is frozen from the start, so that freezing a
// file's globals goes no deeper than guard.Frozen has looked.
type caseSet struct {
	names  []string // as they stand in the tests' names
	values []starlark.Value
}

func (c *caseSet) String() string {
	return shorten("cases("+strings.Join(c.names, ", ")+")", briefLimit)
}
func (c *caseSet) Type() string          { return "cases" }
func (c *caseSet) Freeze()               {}
func (c *caseSet) Truth() starlark.Bool  { return true }
func (c *caseSet) Hash() (uint32, error) { return 0, errors.New("unhashable: cases") }

const casesSig = "(*values, **named)"

// newCases makes a caseSet: values first, under their own text, then those with
// a name.
func newCases(_ *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	c := &caseSet{}
	for i, v := range args {
		name, ok := caseName(v)
		if !ok {
			return nil, fmt.Errorf("value %d is %s: only strings, numbers, bools and None name themselves: give it a name, as in cases(small = %s)", i+1, withArticle(v.Type()), brief(v))
		}
		c.add(name, v)
	}
	for _, kw := range kwargs {
		c.add(string(kw[0].(starlark.String)), kw[1])
	}
	if len(c.names) == 0 {
		return nil, errors.New("there is no value: a test of no cases would never run")
	}
	seen := make(map[string]bool)
	for _, name := range c.names {
		if name == "" {
			return nil, errors.New(`a value has an empty name: give it another, as in cases(none = "")`)
		}
		if seen[name] {
			return nil, fmt.Errorf("two values are named %s: give one another name, as in cases(other = ...)", name)
		}
		seen[name] = true
	}
	values := starlark.Tuple(c.values)
	if _, err := guard.Frozen(starlark.StringDict{"cases": values}); err != nil {
		return nil, err
	}
	values.Freeze()
	return c, nil
}

func (c *caseSet) add(name string, v starlark.Value) {
	name = strings.ReplaceAll(levelName(name), "/", "_")
	c.names, c.values = append(c.names, name), append(c.values, v)
}

// caseName is the text of a value that names itself.
func caseName(v starlark.Value) (string, bool) {
	switch v := v.(type) {
	case starlark.String:
		return string(v), true
	case starlark.Int, starlark.Float, starlark.Bool, starlark.NoneType:
		return brief(v), true
	}
	return "", false
}

func withArticle(noun string) string {
	if strings.ContainsRune("aeiou", rune(noun[0])) {
		return "an " + noun
	}
	return "a " + noun
}

// levelName is a part of a test's name as Go's testing package makes it: "_" for
// white space, escapes for what cannot be printed.
func levelName(name string) string {
	var b strings.Builder
	for _, r := range name {
		switch {
		case unicode.IsSpace(r):
			b.WriteByte('_')
		case !strconv.IsPrint(r):
			quoted := strconv.QuoteRune(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// A Case is the value that one parameter of a test has.
type Case struct{ Param, Name string }

// A casesParam is a parameter whose default is a caseSet.
type casesParam struct {
	name string
	set  *caseSet
}

func casesOf(fn *starlark.Function) (params []casesParam) {
	for i := range fn.NumParams() {
		if set, ok := fn.ParamDefault(i).(*caseSet); ok {
			name, _ := fn.Param(i)
			params = append(params, casesParam{name, set})
		}
	}
	return params
}

// each gives the tests that a function stands for: one for each combination of
// its parameters' cases, the last parameter's changing first, named
// "test_x:first=1,second=2"; the one test if it has no such parameter. The name
// has no slash: readers of go test -json take what has one for a part of a test
// that runs at the time.
func (test *Test) each() ([]*Test, error) {
	params := casesOf(test.fn)
	n := 1
	for _, p := range params {
		if n *= len(p.set.names); n > maxCases {
			return nil, fmt.Errorf("%s stands for more than %d tests", test.Name, maxCases)
		}
	}
	if len(params) == 0 {
		return []*Test{test}, nil
	}
	tests := make([]*Test, n)
	for i := range tests {
		one := *test
		one.Cases = make([]Case, len(params))
		one.kwargs = make([]starlark.Tuple, len(params))
		words := make([]string, len(params))
		at := i
		for k := len(params) - 1; k >= 0; k-- {
			p := params[k]
			which := at % len(p.set.names)
			at /= len(p.set.names)
			one.Cases[k] = Case{p.name, p.set.names[which]}
			one.kwargs[k] = starlark.Tuple{starlark.String(p.name), p.set.values[which]}
			words[k] = p.name + "=" + p.set.names[which]
		}
		one.Name += ":" + strings.Join(words, ",")
		tests[i] = &one
	}
	return tests, nil
}
