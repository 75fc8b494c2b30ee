package lab

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestConsoleTimes: a line has the time at which it ended, also after a restore, and of
// a part of the console the lines that end in it.
func TestConsoleTimes(t *testing.T) {
	now := time.Duration(0)
	c := &console{clock: func() time.Duration { now++; return now }}
	fmt.Fprint(c, "one\ntw")
	kept, place := c.save(), len(c.text)
	fmt.Fprint(c, "o\n\nfour\n")
	for _, want := range []struct {
		from int
		at   []time.Duration
	}{{0, []time.Duration{1, 2, 3, 4}}, {place, []time.Duration{2, 3, 4}}, {len("one\n"), []time.Duration{2, 3, 4}}, {len(c.text), nil}} {
		if got := c.endsSince(want.from); !slices.Equal(got, want.at) {
			t.Errorf("the lines from byte %d on end at %v, want %v", want.from, got, want.at)
		}
	}
	c.load(kept)
	c.replay([]byte("o\nthree\n"), []time.Duration{70, 80})
	if got, want := c.endsSince(0), []time.Duration{1, 70, 80}; !slices.Equal(got, want) {
		t.Errorf("after a restore, and what was said again, lines end at %v, want %v", got, want)
	}
}

// TestTimeline: the same in a row is one, but not over the begin of a call, and label
// writes are one that follow each other; there is room for so many.
func TestTimeline(t *testing.T) {
	v := &VM{}
	label := func(offset uint32) Happening {
		return Happening{Kind: KindLabel, Label: &labelAccess{Offset: offset, Length: 256}}
	}
	v.note(KindFirmware, "smart")
	v.note(KindFirmware, "smart")
	v.note(KindPlug, "smart")
	n := v.Happened()
	v.note(KindPlug, "smart")
	for _, offset := range []uint32{0, 256, 1024} {
		v.add(label(offset))
	}
	var got []string
	for _, h := range v.timeline.list {
		line := fmt.Sprintf("%s %d", h.Kind, h.Times)
		if h.Label != nil {
			line += fmt.Sprintf(" %d+%d", h.Label.Offset, h.Label.Length)
		}
		got = append(got, line)
	}
	if want := []string{"firmware 2", "plug 1", "plug 1", "label 2 0+512", "label 1 1024+256"}; !slices.Equal(got, want) {
		t.Errorf("there happened\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if since := v.happenedSince(n, 0); len(since) != 3 {
		t.Errorf("since the call there happened %d things, want 3", len(since))
	}
	for i := range happeningsLimit {
		v.note(KindFirmware, fmt.Sprint(i))
	}
	if n := len(v.timeline.list); n != happeningsLimit {
		t.Errorf("%d things are kept, want %d", n, happeningsLimit)
	}
}
