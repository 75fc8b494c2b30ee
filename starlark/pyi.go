package nvstar

import (
	"fmt"
	"strings"

	"go.starlark.net/starlark"
)

// Stubs is the language as a stub file of Python's, for editors that know no
// Starlark: as __builtins__.pyi beside the scenarios it is read by Pyright. Types
// have a capital there, T and Vm, as they are no names of the language.
func Stubs() string {
	var b strings.Builder
	b.WriteString("# Made by nvlab doc -pyi. A test says what it takes by a comment: def test_x(t): # type: (T) -> None\nfrom typing import Any, Iterable\n")
	for _, t := range Topics() {
		if t.Name == predeclared.Name {
			for _, s := range t.Subs {
				b.WriteString("\n" + s.stub("", s.Name))
			}
			continue
		}
		fmt.Fprintf(&b, "\nclass %s:\n%s", pythonClass(t.Name), pythonDoc(t.Doc, "    "))
		for _, s := range t.Subs {
			b.WriteString("\n" + s.stub("    ", lastName(s.Name)))
		}
		if t.Name == checkClass.name { // the only module
			fmt.Fprintf(&b, "\n%s: %s\n", t.Name, pythonClass(t.Name))
		}
	}
	return b.String()
}

// stub is a name as Python declares it.
func (t Topic) stub(margin, name string) string {
	doc := pythonDoc(t.Doc, margin+"    ")
	switch {
	case name == "load":
		return "def load(path: str, *names: str, **renamed: str) -> None:\n" + doc
	case strings.HasSuffix(name, "iB"):
		return name + ": int\n" + pythonDoc(t.Doc, "")
	case t.Sig == "":
		return fmt.Sprintf("%s%s: %s\n%s", margin, name, t.pythonType(), pythonDoc(t.Doc, margin))
	}
	self := ""
	if margin != "" {
		self = "self"
	}
	return fmt.Sprintf("%sdef %s(%s) -> %s:\n%s", margin, name, strings.Join(t.pythonParams(self), ", "), t.pythonType(), doc)
}

func (t Topic) pythonParams(self string) (params []string) {
	if self != "" {
		params = append(params, self)
	}
	sig := parseSignature(t.Sig)
	for i, p := range sig.params {
		if i == sig.places {
			if sig.rest != "" {
				params = append(params, "*"+sig.rest)
			} else {
				params = append(params, "*")
			}
		}
		params = append(params, p.python())
	}
	if sig.rest != "" && len(sig.params) <= sig.places {
		params = append(params, "*"+sig.rest)
	}
	if sig.named != "" {
		params = append(params, "**"+sig.named)
	}
	return params
}

// python is a parameter with what its name and its default say of its type.
func (p param) python() string {
	text, kind := p.name, ""
	switch p.fallback.(type) {
	case starlark.Bool:
		kind = "bool"
	case starlark.Int:
		kind = "int"
	case starlark.String:
		kind = "str"
	}
	if strings.Contains(sizeParams, " "+p.name+" ") {
		kind = "int | str"
		if p.fallback == starlark.None {
			kind += " | None"
		}
	}
	if kind != "" {
		text += ": " + kind
	}
	if p.fallback != nil {
		text += " = " + p.fallback.String()
	}
	return text
}

var pythonTypes = map[string]string{"bytes": "bytes", "text": "str", "dict": "dict", "list": "list", "iterable": "Iterable"}

// pythonType is what a call gives, as far as its text tells.
func (t Topic) pythonType() string {
	kind, of := t.Gives()
	if of != "" {
		return pythonName(kind) + "[" + pythonName(of) + "]"
	}
	return pythonName(kind)
}

func pythonName(kind string) string {
	if name, ok := pythonTypes[kind]; ok {
		return name
	}
	for _, t := range Topics() {
		if t.Name == kind {
			return pythonClass(kind)
		}
	}
	return "Any"
}

// pythonClass makes MemoryDevice of memory_device.
func pythonClass(name string) string {
	var b strings.Builder
	for part := range strings.SplitSeq(name, "_") {
		b.WriteString(strings.ToUpper(part[:1]) + part[1:])
	}
	return b.String()
}

func pythonDoc(doc, margin string) string {
	text := strings.NewReplacer(`\`, `\\`, `"""`, `\"\"\"`).Replace(doc)
	return margin + `"""` + "\n" + wrap(text, margin) + margin + `"""` + "\n"
}
