package lsp

import (
	"regexp"
	"strings"
)

// A cursor is what stands before a place in a text that may not be whole.
type cursor struct {
	inText bool // it is in a string or a comment
	calls  []openCall
}

// An openCall is a bracket that is open at the cursor.
type openCall struct {
	at      int  // of the bracket
	bracket byte // '(', '[' or '{'
	commas  int
	arg     int // where the current argument begins
}

// cursorAt reads a text up to an offset, as far as brackets and strings go.
func cursorAt(text string, end int) (c cursor) {
	text = text[:end]
	for i := 0; i < len(text); {
		switch b := text[i]; b {
		case '#':
			n := strings.IndexByte(text[i:], '\n')
			if n < 0 {
				c.inText = true
				return c
			}
			i += n
		case '"', '\'':
			n := literal(text[i:], i > 0 && isRaw(text[:i]))
			if n < 0 {
				c.inText = true
				return c
			}
			i += n
		case '(', '[', '{':
			c.calls = append(c.calls, openCall{at: i, bracket: b, arg: i + 1})
			i++
		case ')', ']', '}':
			if n := len(c.calls); n > 0 {
				c.calls = c.calls[:n-1]
			}
			i++
		case ',':
			if n := len(c.calls); n > 0 {
				c.calls[n-1].commas++
				c.calls[n-1].arg = i + 1
			}
			i++
		default:
			i++
		}
	}
	return c
}

var rawPrefix = regexp.MustCompile(`(^|\W)b?rb?$`)

func isRaw(before string) bool { return rawPrefix.MatchString(before[max(0, len(before)-4):]) }

// literal is how long the string at a text's beginning is, -1 if it does not
// end. One of a line ends with the line, as one does that is being typed.
func literal(text string, raw bool) int {
	quote := text[:1]
	if strings.HasPrefix(text, strings.Repeat(quote, 3)) {
		quote = text[:3]
	}
	for i := len(quote); i < len(text); i++ {
		switch {
		case text[i] == '\\':
			i++
		case strings.HasPrefix(text[i:], quote):
			return i + len(quote)
		case text[i] == '\n' && len(quote) == 1:
			return i
		}
	}
	return -1
}

// call is the innermost call that is open, false if there is none.
func (c *cursor) call() (openCall, bool) {
	if n := len(c.calls); n > 0 && c.calls[n-1].bracket == '(' {
		return c.calls[n-1], true
	}
	return openCall{}, false
}

// operand is the expression that ends a text, of names, attributes, calls and
// indexes: "" if it ends otherwise.
func operand(text string) string {
	i := len(text)
	for i > 0 {
		switch b := text[i-1]; {
		case isName(rune(b)):
			for i > 0 && isName(rune(text[i-1])) {
				i--
			}
			if i == 0 || text[i-1] != '.' {
				return text[i:]
			}
			i--
		case b == ')' || b == ']':
			if i = opening(text[:i]); i < 0 {
				return ""
			}
			if i == 0 || !isName(rune(text[i-1])) && text[i-1] != ')' && text[i-1] != ']' {
				return "" // it is no call
			}
		default:
			return ""
		}
	}
	return text[i:]
}

// opening is where the bracket is that the text's last one closes, -1 if it is
// not there.
func opening(text string) int {
	depth := 0
	for i := len(text) - 1; i >= 0; i-- {
		switch text[i] {
		case ')', ']', '}':
			depth++
		case '(', '[', '{':
			if depth--; depth == 0 {
				return i
			}
		case '"', '\'':
			at := strings.LastIndexByte(text[:i], text[i])
			if at < 0 {
				return -1
			}
			i = at
		}
	}
	return -1
}

var keywordArgument = regexp.MustCompile(`^\s*([A-Za-z_]\w*)\s*=([^=]|$)`)

// keyword is the name that the current argument has so far, "" for none.
func (o openCall) keyword(text string) string {
	if m := keywordArgument.FindStringSubmatch(text[o.arg:]); m != nil {
		return m[1]
	}
	return ""
}
