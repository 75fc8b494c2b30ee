package nvstar

import (
	"fmt"
	"strings"
)

// A failure's text has at most so many bytes in a line, and so many lines: what
// somebody reads, whatever a scenario or a guest put into it. The artifacts
// have a guest's output whole.
const (
	lineLimit  = 2 << 10
	linesLimit = 1000
)

// clipped is a text within these limits, with what is left out said in its
// place. Lines that are too many are missing in the middle.
func clipped(text string) string {
	if len(text) <= lineLimit {
		return text
	}
	lines := strings.Split(text, "\n")
	if n := len(lines); n > linesLimit {
		head := lines[: linesLimit/2 : linesLimit/2]
		head = append(head, fmt.Sprintf("... (%d lines are left out)", n-linesLimit))
		lines = append(head, lines[n-linesLimit/2:]...)
	}
	for i, line := range lines {
		if len(line) > lineLimit {
			const tail = lineLimit / 8
			head := lineLimit - tail
			lines[i] = fmt.Sprintf("%s... (%d bytes are left out) ...%s",
				strings.ToValidUTF8(line[:head], ""), len(line)-lineLimit, strings.ToValidUTF8(line[len(line)-tail:], ""))
		}
	}
	return strings.Join(lines, "\n")
}

// columnsAround is how much of a long line is shown on each side of a column.
const columnsAround = 100

// around is a line of the source, if it is long the part of it around a column,
// and the column in that.
func around(line string, col int) (shown string, at int) {
	letters := []rune(line)
	if len(letters) <= 2*columnsAround {
		return line, col
	}
	from := min(max(0, col-1-columnsAround), len(letters))
	to := min(len(letters), from+2*columnsAround)
	before, after := "", ""
	if from > 0 {
		before = "..."
	}
	if to < len(letters) {
		after = "..."
	}
	return before + string(letters[from:to]) + after, col - from + len(before)
}
