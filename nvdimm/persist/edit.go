package persist

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// An edit is a line of a state in which it differs from nothing more, or
// everything, having survived. In ids it is the offset of the line in its
// medium, in hexadecimal: after the medium's number and a colon, unless that is
// 0; before t and a number of the contents that are listed, if it is torn. The
// label write in progress is w and the number of its prefix.
type edit struct {
	label  bool
	medium int
	n      uint64 // of the line
	torn   int    // the content, 0 for wholly or not at all; of the label write the prefix
}

func editsText(list []edit) string {
	var b strings.Builder
	for i, e := range list {
		if i > 0 {
			b.WriteByte('+')
		}
		switch {
		case e.label:
			fmt.Fprintf(&b, "w%d", e.torn)
			continue
		case e.medium > 0:
			fmt.Fprintf(&b, "%d:", e.medium)
		}
		fmt.Fprintf(&b, "%x", e.n*LineSize)
		if e.torn > 0 {
			fmt.Fprintf(&b, "t%d", e.torn)
		}
	}
	return b.String()
}

func parseEdits(text string) (list []edit, ok bool) {
	if text == "" {
		return nil, true
	}
	for part := range strings.SplitSeq(text, "+") {
		var e edit
		var err error
		if rest, is := strings.CutPrefix(part, "w"); is {
			e.label = true
			if e.torn, err = strconv.Atoi(rest); err != nil || e.torn < 0 {
				return nil, false
			}
			list = append(list, e)
			continue
		}
		if medium, rest, is := strings.Cut(part, ":"); is {
			if e.medium, err = strconv.Atoi(medium); err != nil || e.medium < 0 {
				return nil, false
			}
			part = rest
		}
		offset, torn, is := strings.Cut(part, "t")
		if is {
			if e.torn, err = strconv.Atoi(torn); err != nil || e.torn <= 0 {
				return nil, false
			}
		}
		if e.n, err = strconv.ParseUint(offset, 16, 64); err != nil || e.n%LineSize != 0 {
			return nil, false
		}
		e.n /= LineSize
		list = append(list, e)
	}
	return list, true
}

// edited is the choice in which everything survived, or nothing more, but for
// some edits.
func (p *point) edited(all bool, list []edit) (*choice, error) {
	c := p.all(all)
	if all {
		c.tear = p.tears() - 1
	}
	for _, e := range list {
		if e.label {
			if e.torn >= p.tears() {
				return nil, fmt.Errorf("no label write has a prefix %d", e.torn)
			}
			c.tear = e.torn
			continue
		}
		i := slices.IndexFunc(p.lines, func(l *line) bool { return l.medium.index == e.medium && l.n == e.n })
		if i < 0 {
			return nil, fmt.Errorf("the line at %#x is not undecided", e.n*LineSize)
		}
		list := p.known[i].list
		switch {
		case e.torn == 0:
			p.set(c, i, p.extreme(i, !all))
		case e.torn >= len(list)-1:
			return nil, fmt.Errorf("the line at %#x has %d contents", e.n*LineSize, len(list))
		default:
			p.set(c, i, pick(e.torn))
		}
	}
	return c, nil
}
