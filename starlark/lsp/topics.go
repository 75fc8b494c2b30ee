package lsp

import (
	"strings"
	"sync"

	nvstar "nvlab/starlark"
)

// topics are the language's names: "vm", "vm.plug", "KiB".
var topics = sync.OnceValue(func() map[string]*nvstar.Topic {
	all := make(map[string]*nvstar.Topic)
	for _, t := range nvstar.Topics() {
		if t.Name != "predeclared" {
			all[t.Name] = &t
		}
		for _, s := range t.Subs {
			all[s.Name] = &s
		}
	}
	return all
})

func topicOf(name string) *nvstar.Topic { return topics()[name] }

// attribute is a topic's name without its type's.
func attribute(t *nvstar.Topic) string { return t.Name[strings.LastIndexByte(t.Name, '.')+1:] }

// attributes are the names behind a dot of a value of that type.
func attributes(t *nvstar.Topic) (names []string) {
	for _, s := range t.Subs {
		names = append(names, attribute(&s))
	}
	return names
}

// text is a topic's text, in Markdown.
func text(doc string) *markup { return &markup{"markdown", doc} }

func code(line string) string { return "```starlark\n" + line + "\n```" }
