// Package statedoc holds structs to docs/snapshots.md, for tests: every field of
// what a snapshot is taken of is there, as state or as something that is not.
package statedoc

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// page is below the folder that has go.mod.
const page = "docs/snapshots.md"

// What a field can be. Only state is looked into.
var kinds = map[string]bool{"state": true, "derived": true, "given": true, "wiring": true}

type row struct {
	kind, why string
	used      bool
}

// Check fails the test unless the tables below a heading of the page, up to the
// next, have a row for every field of some structs and of those that they reach
// by fields that are state, and for nothing else. Plain data, structs of
// exported fields that a copy of slices copies, needs no rows of its own. A
// reason is needed for all that is neither plain data nor a struct of ours. A test
// binary that runs outside the repository has no page, and skips.
func Check(t *testing.T, heading string, structs ...reflect.Type) {
	t.Helper()
	dir := "."
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if dir = filepath.Join("..", dir); len(dir) > 60 {
			t.Skip("the page is in the repository, and this test runs elsewhere")
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, page))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems(string(text), heading, structs...) {
		t.Errorf("%s: %s", page, p)
	}
}

// problems are what is wrong with a page.
func problems(text, heading string, structs ...reflect.Type) []string {
	c := &checker{rows: map[string]*row{}, seen: map[reflect.Type]bool{}}
	c.read(text, heading)
	for _, s := range structs {
		c.check(s)
	}
	for _, field := range slices.Sorted(maps.Keys(c.rows)) {
		if !c.rows[field].used {
			c.problem("%q has a row for %s, which is not there", heading, field)
		}
	}
	return c.problems
}

type checker struct {
	rows     map[string]*row // by field
	seen     map[reflect.Type]bool
	problems []string
}

func (c *checker) problem(format string, args ...any) {
	c.problems = append(c.problems, fmt.Sprintf(format, args...))
}

var (
	headingLine = regexp.MustCompile(`^#+ (.*)$`)
	tableLine   = regexp.MustCompile("^\\| (`.*`) \\| ([^|]*) \\| ?([^|]*?) ?\\|$")
	quoted      = regexp.MustCompile("`([^`]+)`")
)

// read takes the rows below a heading.
func (c *checker) read(text, heading string) {
	within := false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if m := headingLine.FindStringSubmatch(line); m != nil {
			within = m[1] == heading
		}
		m := tableLine.FindStringSubmatch(line)
		if m == nil || !within {
			continue
		}
		kind, why := m[2], m[3]
		if !kinds[kind] {
			c.problem("%s is %q, want state, derived, given or wiring", m[1], kind)
		}
		if kind != "state" && why == "" {
			c.problem("%s is %s, and it is not said why", m[1], kind)
		}
		for _, q := range quoted.FindAllStringSubmatch(m[1], -1) {
			if c.rows[q[1]] != nil {
				c.problem("there are two rows for %s", q[1])
			}
			c.rows[q[1]] = &row{kind: kind, why: why}
		}
	}
	if len(c.rows) == 0 {
		c.problem("there is no table below %q", heading)
	}
}

// check looks for a row of each field of a struct.
func (c *checker) check(s reflect.Type) {
	if c.seen[s] {
		return
	}
	c.seen[s] = true
	for f := range fields(s) {
		name := s.String() + "." + f.Name
		r := c.rows[name]
		if r == nil {
			c.problem("there is no row for %s: is it state, or derived, given or wiring?", name)
			continue
		}
		r.used = true
		if r.kind != "state" || plain(f.Type) {
			continue
		}
		if e := element(f.Type); ours(e) {
			c.check(e)
		} else if r.why == "" {
			c.problem("%s is state, of type %v, and it is not said how that is saved", name, f.Type)
		}
	}
}

func fields(s reflect.Type) func(func(reflect.StructField) bool) {
	return func(yield func(reflect.StructField) bool) {
		for i := range s.NumField() {
			if !yield(s.Field(i)) {
				return
			}
		}
	}
}

// element is what a field has one or several of.
func element(t reflect.Type) reflect.Type {
	for {
		switch t.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
			t = t.Elem()
		default:
			return t
		}
	}
}

func ours(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && strings.HasPrefix(t.PkgPath(), "nvlab/")
}

// plain says whether encoding/gob writes all of a type, and a copy that copies
// its slices shares nothing with it.
func plain(t reflect.Type) bool {
	if t.String() == "time.Time" {
		return true
	}
	switch t.Kind() {
	case reflect.Pointer, reflect.Map, reflect.Interface, reflect.Func, reflect.Chan, reflect.UnsafePointer, reflect.Uintptr:
		return false
	case reflect.Slice, reflect.Array:
		return plain(t.Elem())
	case reflect.Struct:
		for f := range fields(t) {
			if !f.IsExported() || !plain(f.Type) {
				return false
			}
		}
	}
	return true
}

// Clone fails the test unless a type's Clone method copies every slice of a
// value, at any depth. One that has no slices needs no such method.
func Clone[T interface{ Clone() T }](t *testing.T) {
	t.Helper()
	var v T
	fill(reflect.ValueOf(&v).Elem())
	shared(t, reflect.TypeFor[T]().String(), reflect.ValueOf(v), reflect.ValueOf(v.Clone()))
}

// fill has each slice of a value hold something.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fallthrough
	case reflect.Array:
		for i := range v.Len() {
			fill(v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	}
}

func shared(t *testing.T, name string, a, b reflect.Value) {
	t.Helper()
	switch a.Kind() {
	case reflect.Slice:
		if a.Len() != b.Len() {
			t.Errorf("Clone copies %d elements of %s, want %d", b.Len(), name, a.Len())
			return
		}
		if a.Pointer() == b.Pointer() {
			t.Errorf("a value and its Clone share %s", name)
		}
		fallthrough
	case reflect.Array:
		for i := range a.Len() {
			shared(t, name+"[]", a.Index(i), b.Index(i))
		}
	case reflect.Struct:
		for i := range a.NumField() {
			shared(t, name+"."+a.Type().Field(i).Name, a.Field(i), b.Field(i))
		}
	}
}
