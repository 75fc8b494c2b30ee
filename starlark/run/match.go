package run

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
)

// A matcher decides which tests run, as go test -run does: alternatives joined
// by |, each of regular expressions for the levels of a name joined by /.
// Neither counts within brackets or parentheses. The zero matcher takes all.
type matcher struct {
	alternatives [][]*regexp.Regexp
}

func newMatcher(pattern string) (*matcher, error) {
	m := new(matcher)
	if pattern == "" {
		return m, nil
	}
	for _, alternative := range splitOutside(pattern, '|') {
		var levels []*regexp.Regexp
		for _, level := range splitOutside(alternative, '/') {
			re, err := regexp.Compile(underscored(level))
			if err != nil {
				return nil, fmt.Errorf("-run %s: %s", pattern, strings.TrimPrefix(err.Error(), "error parsing regexp: "))
			}
			levels = append(levels, re)
		}
		m.alternatives = append(m.alternatives, levels)
	}
	return m, nil
}

// match says whether a test runs: each of its levels matches, as far as there
// are expressions.
func (m *matcher) match(name string) bool {
	if m.alternatives == nil {
		return true
	}
	levels := strings.Split(name, "/")
next:
	for _, a := range m.alternatives {
		for i, level := range levels {
			if i < len(a) && !a[i].MatchString(level) {
				continue next
			}
		}
		return true
	}
	return false
}

// splitOutside splits a regular expression at a separator that stands outside
// of brackets and parentheses and is not escaped.
func splitOutside(pattern string, sep byte) []string {
	var parts []string
	brackets, parens, start := 0, 0, 0
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; {
		case c == '\\':
			i++
		case c == '[':
			brackets++
		case c == ']':
			brackets = max(brackets-1, 0)
		case c == '(' && brackets == 0:
			parens++
		case c == ')' && brackets == 0:
			parens--
		case c == sep && brackets == 0 && parens == 0:
			parts = append(parts, pattern[start:i])
			start = i + 1
		}
	}
	return append(parts, pattern[start:])
}

// underscored is an expression as it must be to match names of subtests.
func underscored(level string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return '_'
		}
		return r
	}, level)
}
