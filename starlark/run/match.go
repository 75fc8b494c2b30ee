package run

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
)

// A matcher decides which tests run, as go test's -run and -skip do. The zero
// matcher takes all.
type matcher struct {
	run, skip namePattern
}

func newMatcher(run, skip string) (*matcher, error) {
	m := new(matcher)
	var err error
	if m.run, err = parsePattern("-run", run); err == nil {
		m.skip, err = parsePattern("-skip", skip)
	}
	return m, err
}

// match says whether a test runs: each of its levels matches -run, as far as
// there are expressions, and -skip does not match. A -skip of more levels than the
// name has is about its subtests, and skips these only.
func (m *matcher) match(name string) bool {
	levels := strings.Split(name, "/")
	return (m.run == nil || m.run.matches(levels, false)) && !m.skip.matches(levels, true)
}

// A namePattern is alternatives joined by |, each of regular expressions for the
// levels of a name joined by /. Neither counts within brackets or parentheses.
type namePattern [][]*regexp.Regexp

func parsePattern(flag, pattern string) (p namePattern, err error) {
	if pattern == "" {
		return nil, nil
	}
	for _, alternative := range splitOutside(pattern, '|') {
		var levels []*regexp.Regexp
		for _, level := range splitOutside(alternative, '/') {
			re, err := regexp.Compile(underscored(level))
			if err != nil {
				return nil, fmt.Errorf("%s %s: %s", flag, pattern, strings.TrimPrefix(err.Error(), "error parsing regexp: "))
			}
			levels = append(levels, re)
		}
		p = append(p, levels)
	}
	return p, nil
}

// matches says whether an alternative matches a name's levels, as far as both
// go; with whole, the name must have all levels of the alternative.
func (p namePattern) matches(levels []string, whole bool) bool {
next:
	for _, a := range p {
		if whole && len(a) > len(levels) {
			continue
		}
		for i, level := range levels[:min(len(levels), len(a))] {
			if !a[i].MatchString(level) {
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
