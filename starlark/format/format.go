// Package format lays scenarios out as buildifier does.
package format

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/bazelbuild/buildtools/build"
	"go.starlark.net/syntax"

	"nvlab/starlark/guard"
)

// Source is a scenario's text as buildifier lays it out: it differs in white
// space, quotes and commas at the ends of lists alone. The error is of the
// syntax, at its place in the file of that name.
func Source(name string, text []byte) ([]byte, error) {
	if len(text) > guard.MaxSource {
		return nil, fmt.Errorf("%s: %d bytes: a scenario has at most %d", name, len(text), guard.MaxSource)
	}
	if !utf8.Valid(text) {
		return nil, fmt.Errorf("%s: the text is no UTF-8", name)
	}
	text = newlines.ReplaceAllLiteral(bytes.TrimPrefix(text, []byte("\ufeff")), []byte("\n"))
	before, err := parse(name, text)
	if err != nil {
		return nil, err
	}
	masked, literals := mask(text, before)
	file, err := build.ParseDefault(name, masked)
	if e, ok := errors.AsType[build.ParseError](err); ok {
		return nil, fmt.Errorf("%s:%d:%d: buildifier's grammar is smaller than Starlark's, parentheses may help: %s", name, e.Pos.Line, e.Pos.LineRune, e.Message)
	} else if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	out := build.FormatWithoutRewriting(file) // rewriting sorts names
	for stand, raw := range literals {
		out = bytes.ReplaceAll(out, []byte(stand), []byte(raw))
	}
	after, err := parse(name, out)
	if err != nil {
		return nil, fmt.Errorf("laid out, it cannot be read any more: %w", err)
	}
	if shape(before) != shape(after) {
		return nil, fmt.Errorf("%s: laid out, it would say something else", name)
	}
	return out, nil
}

// newlines are what the scanner takes for one.
var newlines = regexp.MustCompile(`\r\n?`)

func parse(name string, text []byte) (*syntax.File, error) {
	file, err := new(syntax.FileOptions).Parse(name, text, 0)
	if err != nil {
		return nil, err
	}
	return file, guard.Tree(file)
}

// mask puts names in the place of literals: bytes, which buildifier does not
// know, and strings with letters beyond ASCII, of which it may make octal escapes.
// literals has what each name stands for; none is a part of another.
func mask(text []byte, file *syntax.File) (masked []byte, literals map[string]string) {
	var found []*syntax.Literal
	syntax.Walk(file, func(n syntax.Node) bool {
		if lit, ok := n.(*syntax.Literal); ok && (lit.Token == syntax.BYTES || lit.Token == syntax.STRING && !ascii(lit.Raw)) {
			found = append(found, lit)
		}
		return true
	})
	if found == nil {
		return text, nil
	}
	slices.SortFunc(found, func(a, b *syntax.Literal) int {
		if a.TokenPos.Line != b.TokenPos.Line {
			return int(a.TokenPos.Line - b.TokenPos.Line)
		}
		return int(a.TokenPos.Col - b.TokenPos.Col)
	})
	prefix := "_literal_"
	for bytes.Contains(text, []byte(prefix)) {
		prefix += "_"
	}
	literals = make(map[string]string)
	var out bytes.Buffer
	at, line, col := 0, int32(1), int32(1) // of what is copied next; columns count runes
	rest := string(text)
	for i, r := range rest {
		if len(found) > 0 && i >= at && found[0].TokenPos.Line == line && found[0].TokenPos.Col == col && strings.HasPrefix(rest[i:], found[0].Raw) {
			stand := fmt.Sprintf("%s%d_", prefix, len(literals))
			literals[stand] = found[0].Raw
			out.WriteString(rest[at:i] + stand)
			at = i + len(found[0].Raw)
			found = found[1:]
		}
		col++
		if r == '\n' {
			line, col = line+1, 1
		}
	}
	out.WriteString(rest[at:])
	return out.Bytes(), literals
}

func ascii(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r >= utf8.RuneSelf })
}

// shape is what a file says, without its layout.
func shape(file *syntax.File) string {
	var b strings.Builder
	write(&b, reflect.ValueOf(file.Stmts))
	return b.String()
}

func write(b *strings.Builder, v reflect.Value) {
	switch v.Kind() {
	case reflect.Interface, reflect.Pointer:
		if v.IsNil() {
			b.WriteString("nil ")
			return
		}
		switch x := v.Interface().(type) {
		case *syntax.ParenExpr:
			write(b, reflect.ValueOf(x.X))
			return
		case *syntax.Literal:
			fmt.Fprintf(b, "%v %#v ", x.Token, fmt.Sprint(x.Value))
			return
		}
		write(b, v.Elem())
	case reflect.Slice:
		b.WriteString("[")
		for i := range v.Len() {
			write(b, v.Index(i))
		}
		b.WriteString("]")
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[syntax.Position]() {
			return
		}
		b.WriteString(v.Type().Name() + "(")
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() {
				write(b, v.Field(i))
			}
		}
		b.WriteString(")")
	default:
		fmt.Fprintf(b, "%v ", v)
	}
}
