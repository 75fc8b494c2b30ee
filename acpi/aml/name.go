package aml

import (
	"fmt"
	"strings"
)

// Path refers to an object by name: one segment ("MEMA", searched upwards from
// the scope of use), several ("_SB.NVDR"), from the root (`\_SB.NVDR`) or from
// enclosing scopes ("^NV00"). Segments have one to four characters of A-Z, 0-9
// and _, do not begin with a digit, and are padded with _ (section 20.2.2).
type Path string

func (p Path) emit(e *encoder) { e.name(string(p)) }

// name emits a NameString.
func (e *encoder) name(path string) {
	b, err := appendName(e.buf, path)
	if err != nil {
		e.fail("%w", err)
		return
	}
	e.buf = b
}

func appendName(b []byte, path string) ([]byte, error) {
	rest := path
	if strings.HasPrefix(rest, `\`) {
		b = append(b, opRoot)
		rest = rest[1:]
	}
	for strings.HasPrefix(rest, "^") {
		b = append(b, opParent)
		rest = rest[1:]
	}
	if rest == "" {
		if path == "" {
			return nil, fmt.Errorf("a name is empty")
		}
		return append(b, 0), nil
	}
	segs := strings.Split(rest, ".")
	switch {
	case len(segs) == 2:
		b = append(b, opDualName)
	case len(segs) > 0xFF:
		return nil, fmt.Errorf("name of %d segments: at most 255 fit", len(segs))
	case len(segs) > 2:
		b = append(b, opMultiName, byte(len(segs)))
	}
	for _, s := range segs {
		if !validSegment(s) {
			return nil, fmt.Errorf("name %q: segment %q is not one to four of A-Z, 0-9 and _ (first no digit)", path, s)
		}
		b = append(b, s...)
		b = append(b, "____"[len(s):]...)
	}
	return b, nil
}

func validSegment(s string) bool {
	if len(s) < 1 || len(s) > 4 {
		return false
	}
	for i := range len(s) {
		if !validNameChar(s[i], i == 0) {
			return false
		}
	}
	return true
}

func validNameChar(c byte, lead bool) bool {
	return c == '_' || 'A' <= c && c <= 'Z' || !lead && '0' <= c && c <= '9'
}
