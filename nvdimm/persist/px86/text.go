package px86

import (
	"fmt"
	"strings"
)

// String returns p as a litmus test writes it, such as "mov8 a; clwb a; sfence; 1:mov4 b+8". Line 0 is a; operations of a CPU other
// than 0 begin with its number; the n-th operation stores n.
func (p Program) String() string {
	var parts []string
	for _, op := range p {
		parts = append(parts, op.String())
	}
	return strings.Join(parts, "; ")
}

// String returns op as it stands in the text of a program.
func (op Op) String() string {
	s := op.Kind.String()
	if op.CPU > 0 {
		s = fmt.Sprintf("%d:%s", op.CPU, s)
	}
	switch {
	case op.Kind == String:
		s += fmt.Sprintf("%d %sx%d", op.Size, place(op.Addr), op.Count)
	case op.Kind.Stores():
		s += fmt.Sprintf("%d %s", op.Size, place(op.Addr))
	case op.Kind.Flushes() || op.Kind == Hint:
		s += " " + place(op.Addr)
	}
	return s
}

func place(addr int) string {
	s := string(rune('a' + addr/LineSize))
	if addr%LineSize != 0 {
		s += fmt.Sprintf("+%d", addr%LineSize)
	}
	return s
}

// Parse is the inverse of String.
func Parse(text string) (Program, error) {
	var p Program
	for part := range strings.SplitSeq(text, ";") {
		op, err := parse(strings.TrimSpace(part))
		if err != nil {
			return nil, fmt.Errorf("%q: %w", part, err)
		}
		p = append(p, op)
	}
	return p, nil
}

func parse(text string) (Op, error) {
	var op Op
	if len(text) > 1 && text[1] == ':' {
		if text[0] < '0' || text[0] > '9' {
			return op, fmt.Errorf("%q is no CPU", text[:1])
		}
		op.CPU, text = int(text[0]-'0'), text[2:]
	}
	word, where, _ := strings.Cut(text, " ")
	name := strings.TrimRight(word, "0123456789")
	fmt.Sscanf(word[len(name):], "%d", &op.Size)
	found := false
	for _, k := range Kinds() {
		// lock8 a stores, lock alone does so elsewhere
		if k.String() == name && k.Stores() == (op.Size > 0) {
			op.Kind, found = k, true
		}
	}
	if !found {
		return op, fmt.Errorf("no operation is named %q", word)
	}
	if op.Kind.Stores() {
		op.Count = 1
	}
	if op.Kind == DMAStore {
		op.CPU = DMA
	}
	if !op.Kind.Stores() && !op.Kind.Flushes() && op.Kind != Hint {
		return op, nil
	}
	if where == "" || where[0] < 'a' || where[0] > 'z' {
		return op, fmt.Errorf("%q names no line, a to z", where)
	}
	op.Addr = int(where[0]-'a') * LineSize
	rest, count, repeated := strings.Cut(where[1:], "x")
	if repeated {
		if _, err := fmt.Sscanf(count, "%d", &op.Count); err != nil || op.Count < 1 {
			return op, fmt.Errorf("%q is no number of elements", count)
		}
	}
	if rest != "" {
		var offset int
		if _, err := fmt.Sscanf(rest, "+%d", &offset); err != nil || offset < 0 || offset >= LineSize {
			return op, fmt.Errorf("%q is no offset, +1 to +%d", rest, LineSize-1)
		}
		op.Addr += offset
	}
	return op, nil
}
