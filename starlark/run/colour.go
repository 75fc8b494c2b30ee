package run

import (
	"io"
	"slices"
	"strings"
)

// outcomes are how lines begin that tell of an outcome, and their colours (ECMA-48,
// 8.3.117).
var outcomes = []struct{ begin, colour string }{
	{"--- FAIL:", "\x1b[31m"}, {"FAIL", "\x1b[31m"}, {"not run:", "\x1b[31m"},
	{"--- PASS:", "\x1b[32m"}, {"ok ", "\x1b[32m"},
	{"--- SKIP:", "\x1b[33m"}, {"skip ", "\x1b[33m"}, {"no check ran", "\x1b[33m"},
}

// A colouring writes lines that tell of an outcome in its colour.
type colouring struct{ w io.Writer }

func (c colouring) Write(p []byte) (int, error) {
	var b strings.Builder
	for line := range strings.Lines(string(p)) {
		text := strings.TrimRight(line, "\n")
		word := strings.TrimLeft(text, " ")
		i := slices.IndexFunc(outcomes, func(o struct{ begin, colour string }) bool { return strings.HasPrefix(word, o.begin) })
		if i < 0 {
			b.WriteString(line)
			continue
		}
		b.WriteString(outcomes[i].colour + text + "\x1b[m" + line[len(text):])
	}
	if _, err := io.WriteString(c.w, b.String()); err != nil {
		return 0, err
	}
	return len(p), nil
}
