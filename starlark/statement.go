package nvstar

import (
	"io"
	"strings"

	"go.starlark.net/syntax"
)

// promptOptions are how the language is read at a prompt: a name may be bound again,
// and loops need no function around them.
var promptOptions = &syntax.FileOptions{Set: true, TopLevelControl: true, GlobalReassign: true}

// Unfinished says that a statement goes on with the line after text: a bracket or a
// string is open, a line ends with a backslash, or an empty line has to end a block.
// A block that cannot be read goes on to its empty line, too, so that what belongs to
// it is not taken for statements.
func Unfinished(text string) bool {
	lines := strings.Split(text, "\n")
	next, more := 0, false
	_, err := promptOptions.ParseCompoundStmt("prompt", func() ([]byte, error) {
		if next == len(lines) {
			more = true
			return nil, io.EOF
		}
		next++
		return []byte(strings.TrimRight(lines[next-1], " \t\r") + "\n"), nil
	})
	switch {
	case more && len(lines) == 1: // if x: y
		_, err := promptOptions.Parse("prompt", text+"\n", 0)
		return err != nil
	case more:
		return true
	}
	return err != nil && strings.HasSuffix(strings.TrimSpace(lines[0]), ":") && strings.TrimSpace(lines[len(lines)-1]) != ""
}

// newlines are what the parser takes for one.
var newlines = strings.NewReplacer("\r\n", "\n", "\r", "\n")

// IndentStatements puts a margin before each line of statements, but for those that
// begin within a string, whose text it would change.
func IndentStatements(text, margin string) string {
	text = newlines.Replace(text)
	lines := strings.Split(text, "\n")
	within := make([]bool, len(lines))
	if file, err := promptOptions.Parse("prompt", text+"\n", 0); err == nil {
		syntax.Walk(file, func(n syntax.Node) bool {
			if s, ok := n.(*syntax.Literal); ok {
				for i := range strings.Count(s.Raw, "\n") {
					within[int(s.TokenPos.Line)+i] = true
				}
			}
			return true
		})
	}
	for i, line := range lines {
		if !within[i] && line != "" {
			lines[i] = margin + line
		}
	}
	return strings.Join(lines, "\n")
}
