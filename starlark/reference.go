package nvstar

import (
	"fmt"
	"slices"
	"strings"

	"nvlab/internal/spell"
)

// A topic is what the documentation says of one name: a type, a module, one
// of their attributes or a predeclared name.
type topic struct {
	name string // such as vm.plug
	sig  string // of what can be called
	doc  string
	subs []topic
}

func (k *class[H]) topic() topic {
	t := topic{name: k.name, doc: k.doc}
	for _, m := range k.members {
		t.subs = append(t.subs, topic{name: k.name + "." + m.name, sig: m.sig, doc: m.doc})
	}
	return t
}

// topics are in the order of a scenario: test, backend, machine, judgement.
func topics() []topic {
	return []topic{
		tClass.topic(), backendClass.topic(), vmClass.topic(), dimmClass.topic(), memoryClass.topic(), resultClass.topic(),
		checkClass.topic(), predeclared, traceClass.topic(), stateClass.topic(), snapshotClass.topic(),
	}
}

var predeclared = topic{name: "predeclared", doc: "What is there besides, with Starlark's own len, range, print, fail and so on.", subs: []topic{
	{name: "cases", sig: casesSig, doc: `What a parameter of a test takes, one value a test: with def test_x(t, mode = cases("fsdax", "devdax"), pages = cases(none = 0, many = 512)) there are test_x:mode=fsdax,pages=none and three more, with a t of their own, known to -list, -run and shards. Strings, numbers, bools and None name themselves.`},
	{name: "struct", sig: "(**fields)", doc: "A value with these attributes: struct(a = 1).a is 1."},
	{name: "json", doc: "json.decode(text), json.encode(value), json.encode_indent(value), json.indent(text)."},
	{name: "KiB", doc: "1024. MiB, GiB and TiB are its powers: 64 * MiB."},
	{name: "MiB", doc: "1024 * KiB."},
	{name: "GiB", doc: "1024 * MiB."},
	{name: "TiB", doc: "1024 * GiB."},
	{name: "load", sig: "(path, *names)", doc: `load("./other.star", "name") takes names from a file relative to this one. What starts with test_ there is not collected.`},
}}

// Doc explains a name of the language, or all of it if name is "".
func Doc(name string) (string, error) {
	all := topics()
	if name == "" {
		return overview(all), nil
	}
	var names []string
	for _, t := range all {
		if t.name == name {
			return t.text(), nil
		}
		names = append(names, t.name)
		for _, s := range t.subs {
			if s.name == name {
				return s.text(), nil
			}
			names = append(names, s.name)
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

func (t topic) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s%s\n", t.name, t.sig)
	b.WriteString(wrap(t.doc, "    "))
	for _, s := range t.subs {
		fmt.Fprintf(&b, "\n%s%s\n%s", s.name, s.sig, wrap(s.doc, "    "))
	}
	return b.String()
}

func overview(all []topic) string {
	var b strings.Builder
	b.WriteString("The scenario language: Starlark with these names. nvlab doc NAME explains one.\n")
	for _, t := range all {
		fmt.Fprintf(&b, "\n%s\n", t.name)
		width := 0
		for _, s := range t.subs {
			width = max(width, len(s.name))
		}
		for _, s := range t.subs {
			first, _, _ := strings.Cut(s.doc, "\n")
			fmt.Fprintf(&b, "  %-*s  %s\n", width, s.name, sentence(first))
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
	for _, t := range topics() {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n| name | what it is |\n|---|---|\n", t.name, t.doc)
		for _, s := range t.subs {
			cell := strings.Join(slices.DeleteFunc(strings.Split(s.doc, "\n\n"), func(p string) bool { return p == "" }), "<br>")
			fmt.Fprintf(&b, "| `%s%s` | %s |\n", s.name, s.sig, strings.ReplaceAll(cell, "|", "\\|"))
		}
	}
	return b.String()
}
