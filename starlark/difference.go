package nvstar

import (
	"fmt"
	"strings"

	"go.starlark.net/starlark"
)

// difference says where two values that should be equal differ, in at most a
// few lines; nothing if the values themselves say it.
func difference(got, want starlark.Value) []string {
	if g, w, ok := bytesOf(got, want); ok {
		return hexDiff(g, w)
	}
	if g, ok := starlark.AsString(got); ok {
		if w, ok := starlark.AsString(want); ok {
			return textDiff(g, w)
		}
	}
	where, g, w := firstDifference(got, want, "", 0)
	if where == "" || g == nil {
		return nil
	}
	lines := []string{fmt.Sprintf("at %s: got %s, want %s", where, typed(g), typed(w))}
	if g, w, ok := bytesOf(g, w); ok {
		lines = append(lines, hexDiff(g, w)...)
	}
	return lines
}

// typed is a value and its type; absent is what a dict lacks.
func typed(v starlark.Value) string {
	if v == absent {
		return "no such key"
	}
	return fmt.Sprintf("%s (%s)", brief(v), v.Type())
}

var absent starlark.Value = starlark.NewBuiltin("absent", nil)

// bytesOf gives both values as bytes if one of them is bytes.
func bytesOf(got, want starlark.Value) (g, w []byte, ok bool) {
	one := func(v starlark.Value) ([]byte, bool, bool) {
		switch v := v.(type) {
		case starlark.Bytes:
			return []byte(v), true, true
		case starlark.String:
			return []byte(v), true, false
		}
		return nil, false, false
	}
	g, okG, bytesG := one(got)
	w, okW, bytesW := one(want)
	return g, w, okG && okW && (bytesG || bytesW)
}

// hexRows is how many rows a hex diff has at most.
const hexRows = 8

// hexDiff shows the rows of 16 bytes that differ, both sides after their
// offset.
func hexDiff(got, want []byte) []string {
	const width = 16
	var rows []string
	differ := 0
	for at := 0; at < max(len(got), len(want)); at += width {
		g, w := cut(got, at, width), cut(want, at, width)
		if string(g) == string(w) {
			continue
		}
		if differ++; differ <= hexRows {
			rows = append(rows, fmt.Sprintf("%08x  %-*s | % x", at, 3*width-1, fmt.Sprintf("% x", g), w))
		}
	}
	if rows == nil {
		return nil
	}
	head := fmt.Sprintf("%d rows differ, got | want (%d and %d bytes)", differ, len(got), len(want))
	if differ == 1 {
		head = strings.Replace(head, "rows differ", "row differs", 1)
	}
	if differ > hexRows {
		head += fmt.Sprintf("; the first %d", hexRows)
	}
	return append([]string{head}, rows...)
}

func cut(p []byte, at, n int) []byte {
	if at >= len(p) {
		return nil
	}
	return p[at:min(at+n, len(p))]
}

// textDiff says where two texts differ, if one of them is longer than can be
// taken in.
func textDiff(got, want string) []string {
	if max(len(got), len(want)) < 60 && !strings.Contains(got+want, "\n") {
		return nil
	}
	line, g, w := 0, strings.Split(got, "\n"), strings.Split(want, "\n")
	for line < min(len(g), len(w)) && g[line] == w[line] {
		line++
	}
	where := fmt.Sprintf("line %d", line+1)
	skip := 0
	if line < min(len(g), len(w)) {
		if at := commonPrefix(g[line], w[line]); at >= briefLimit/2 {
			where += fmt.Sprintf(", byte %d", at)
			skip = at - briefLimit/4
		}
	}
	side := func(lines []string) string {
		if line >= len(lines) {
			return "nothing"
		}
		text := lines[line]
		if skip > 0 {
			text = "..." + strings.ToValidUTF8(text[skip:], "")
		}
		return shorten(starlark.String(text).String(), briefLimit)
	}
	return []string{fmt.Sprintf("%s: got %s, want %s", where, side(g), side(w))}
}

func commonPrefix(a, b string) int {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return n
}

// firstDifference walks lists, tuples, dicts and structs to the first place
// where they differ, such as [2].dpa.
func firstDifference(got, want starlark.Value, at string, depth int) (where string, g, w starlark.Value) {
	if same, err := starlark.Equal(got, want); err != nil || same || depth > 8 || got.Type() != want.Type() {
		return at, got, want
	}
	switch got := got.(type) {
	case *starlark.Dict:
		want := want.(*starlark.Dict)
		for _, item := range got.Items() {
			key := at + "[" + brief(item[0]) + "]"
			other, ok, _ := want.Get(item[0])
			if !ok {
				return key, item[1], absent
			}
			if same, err := starlark.Equal(item[1], other); err == nil && !same {
				return firstDifference(item[1], other, key, depth+1)
			}
		}
		for _, item := range want.Items() {
			if _, ok, _ := got.Get(item[0]); !ok {
				return at + "[" + brief(item[0]) + "]", absent, item[1]
			}
		}
	case starlark.Indexable:
		want := want.(starlark.Indexable)
		if got.Len() != want.Len() {
			return "len(" + strings.TrimPrefix(at+" value", " ") + ")", starlark.MakeInt(got.Len()), starlark.MakeInt(want.Len())
		}
		for i := range got.Len() {
			if same, err := starlark.Equal(got.Index(i), want.Index(i)); err == nil && !same {
				return firstDifference(got.Index(i), want.Index(i), fmt.Sprintf("%s[%d]", at, i), depth+1)
			}
		}
	case starlark.HasAttrs:
		want := want.(starlark.HasAttrs)
		for _, name := range got.AttrNames() {
			a, errA := got.Attr(name)
			b, errB := want.Attr(name)
			if errA != nil || errB != nil || a == nil || b == nil {
				continue
			}
			if same, err := starlark.Equal(a, b); err == nil && !same {
				return firstDifference(a, b, at+"."+name, depth+1)
			}
		}
	}
	return at, got, want
}
