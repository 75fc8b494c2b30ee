package nvstar

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"go.starlark.net/starlark"

	"nvlab/internal/spell"
	"nvlab/starlark/guard"
)

// A Topic is what the documentation says of one name: a type, a module, one
// of their attributes or a predeclared name.
type Topic struct {
	Name string // such as vm.plug
	Sig  string // of what can be called
	Doc  string
	Subs []Topic
}

// arrow stands before what a call returns.
const arrow = "→ "

var given = regexp.MustCompile(arrow + `(?:an? |the |that )?(?:(list|iterable) of )?(\w+)`)

// Gives is what a call returns, or an attribute holds, as its text says it behind
// an arrow: the name of a type such as "vm", "bytes" or "struct"; of is that of
// the elements of a "list" or an "iterable". It is "" for what has no arrow.
func (t Topic) Gives() (kind, of string) {
	m := given.FindStringSubmatch(t.Doc)
	switch {
	case m == nil:
		return "", ""
	case m[1] != "":
		return m[1], strings.TrimSuffix(m[2], "s")
	}
	return m[2], ""
}

var structFields = regexp.MustCompile(arrow + `[^.;]*?\bstruct\(([\w, ]+)\)`)

// Fields are the attributes of the struct that a call gives, or of the structs of
// its list, as far as its text names them.
func (t Topic) Fields() []string {
	if m := structFields.FindStringSubmatch(t.Doc); m != nil {
		return strings.Split(m[1], ", ")
	}
	return nil
}

// Params are the parameters of what can be called. more says that it takes any
// others by keyword, or any number without.
func (t Topic) Params() (names []string, more bool) {
	if t.Sig == "" {
		return nil, true
	}
	sig := parseSignature(t.Sig)
	return sig.names(), sig.rest != "" || sig.named != ""
}

// Names are those that a scenario has without a definition or load.
func Names() []string {
	names := append(universe().Keys(), starlark.Universe.Keys()...)
	slices.Sort(names)
	return slices.DeleteFunc(slices.Compact(names), guard.Hidden)
}

func (k *class[H]) topic() Topic {
	t := Topic{Name: k.name, Doc: k.doc}
	for _, m := range k.members {
		t.Subs = append(t.Subs, Topic{Name: k.name + "." + m.name, Sig: m.sig, Doc: m.doc})
	}
	return t
}

// Topics are in the order of a scenario: test, backend, machine, judgement.
func Topics() []Topic {
	return []Topic{
		tClass.topic(), backendClass.topic(), vmClass.topic(), dimmClass.topic(), memoryClass.topic(), resultClass.topic(),
		checkClass.topic(), predeclared, traceClass.topic(), stateClass.topic(), snapshotClass.topic(),
	}
}

var predeclared = Topic{Name: "predeclared", Doc: "What is there besides, with Starlark's own len, range, print, fail and so on.", Subs: []Topic{
	{Name: "cases", Sig: casesSig, Doc: `What a parameter of a test takes, one value a test: with def test_x(t, mode = cases("fsdax", "devdax"), pages = cases(none = 0, many = 512)) there are test_x:mode=fsdax,pages=none and three more, with a t of their own, known to -list, -run and shards. Strings, numbers, bools and None name themselves.`},
	{Name: "struct", Sig: "(**fields)", Doc: "A value with these attributes: struct(a = 1).a is 1."},
	{Name: "json", Doc: "json.decode(text), json.encode(value), json.encode_indent(value), json.indent(text)."},
	{Name: "KiB", Doc: "1024. MiB, GiB and TiB are its powers: 64 * MiB."},
	{Name: "MiB", Doc: "1024 * KiB."},
	{Name: "GiB", Doc: "1024 * MiB."},
	{Name: "TiB", Doc: "1024 * GiB."},
	{Name: "load", Sig: "(path, *names)", Doc: `load("./other.star", "name") takes names from a file relative to this one. What starts with test_ there is not collected.`},
}}

// Doc explains a name of the language, or all of it if name is "".
func Doc(name string) (string, error) {
	all := Topics()
	if name == "" {
		return overview(all), nil
	}
	var names []string
	for _, t := range all {
		if t.Name == name {
			return t.text(), nil
		}
		names = append(names, t.Name)
		for _, s := range t.Subs {
			if s.Name == name {
				return s.text(), nil
			}
			names = append(names, s.Name)
		}
	}
	// An attribute alone, such as plug.
	var found []string
	for _, n := range names {
		if strings.HasSuffix(n, "."+name) {
			found = append(found, n)
		}
	}
	if len(found) == 1 {
		return Doc(found[0])
	}
	if len(found) > 1 {
		return "", fmt.Errorf("%s is an attribute of several: %s", name, strings.Join(found, ", "))
	}
	if near := nearestTopic(name, names); near != "" {
		return "", fmt.Errorf("nothing is called %s (did you mean %s?)", name, near)
	}
	return "", fmt.Errorf("nothing is called %s: nvlab doc lists the names", name)
}

// nearestTopic prefers a name of the same type: vm.pulg means vm.plug.
func nearestTopic(name string, names []string) string {
	kind, attr, ok := strings.Cut(name, ".")
	if ok {
		var attrs []string
		for _, n := range names {
			if rest, ok := strings.CutPrefix(n, kind+"."); ok {
				attrs = append(attrs, rest)
			}
		}
		if near := spell.Nearest(attr, attrs); near != "" {
			return kind + "." + near
		}
	}
	if near := spell.Nearest(name, names); near != "" {
		return near
	}
	for _, n := range names {
		_, attr, _ := strings.Cut(n, ".")
		if attr != "" && spell.Nearest(name, []string{attr}) != "" {
			return n
		}
	}
	return ""
}

func (t Topic) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s%s\n", t.Name, t.Sig)
	b.WriteString(wrap(t.Doc, "    "))
	for _, s := range t.Subs {
		fmt.Fprintf(&b, "\n%s%s\n%s", s.Name, s.Sig, wrap(s.Doc, "    "))
	}
	return b.String()
}

func overview(all []Topic) string {
	var b strings.Builder
	b.WriteString("The scenario language: Starlark with these names. nvlab doc NAME explains one.\n")
	for _, t := range all {
		fmt.Fprintf(&b, "\n%s\n", t.Name)
		width := 0
		for _, s := range t.Subs {
			width = max(width, len(s.Name))
		}
		for _, s := range t.Subs {
			first, _, _ := strings.Cut(s.Doc, "\n")
			fmt.Fprintf(&b, "  %-*s  %s\n", width, s.Name, sentence(first))
		}
	}
	return b.String()
}

// sentence is a text's first one.
func sentence(s string) string {
	if i := strings.Index(s, ". "); i >= 0 {
		return s[:i+1]
	}
	return s
}

// wrap breaks paragraphs into lines of at most 80 letters behind a margin.
func wrap(text, margin string) string {
	var b strings.Builder
	for i, paragraph := range strings.Split(text, "\n\n") {
		if i > 0 {
			b.WriteByte('\n')
		}
		line := ""
		for _, word := range strings.Fields(paragraph) {
			if line != "" && len([]rune(margin+line+" "+word)) > 80 {
				b.WriteString(margin + line + "\n")
				line = ""
			}
			line = strings.TrimPrefix(line+" "+word, " ")
		}
		if line != "" {
			b.WriteString(margin + line + "\n")
		}
	}
	return b.String()
}

// Reference is the language's reference page in Markdown.
func Reference() string {
	var b strings.Builder
	b.WriteString("# The scenario language: reference\n\n")
	b.WriteString("Made from the program (`NVLAB_UPDATE=1 go test ./starlark`); `nvlab doc NAME` prints the same.\n")
	b.WriteString("Parameters before `*` may be positional, all others are by keyword.\n")
	b.WriteString("Sizes are an int of bytes or a string such as `\"64MiB\"`, `\"128K\"`, `\"4G\"`; durations are strings such as `\"250ms\"`, `\"30s\"`.\n")
	for _, t := range Topics() {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n| name | what it is |\n|---|---|\n", t.Name, t.Doc)
		for _, s := range t.Subs {
			cell := strings.Join(slices.DeleteFunc(strings.Split(s.Doc, "\n\n"), func(p string) bool { return p == "" }), "<br>")
			fmt.Fprintf(&b, "| `%s%s` | %s |\n", s.Name, s.Sig, strings.ReplaceAll(cell, "|", "\\|"))
		}
	}
	return b.String()
}
