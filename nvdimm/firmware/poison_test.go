package firmware

import (
	"fmt"
	"slices"
	"testing"
)

// line is what a test knows of a line of a medium.
type line struct{ poisoned, latent, injected, stuck bool }

// lines are a list of ranges, line by line.
func (p Poison) lines(n int) []line {
	list := make([]line, n)
	for _, r := range p {
		for at := r.Offset; at < r.end(); at += LineSize {
			list[at/LineSize] = line{true, r.Latent, r.Injected, r.Stuck}
		}
	}
	return list
}

// FuzzPoison holds the list of ranges to a medium line by line: each operation
// does to every line what it says, and leaves ranges that are whole, apart and
// in order. Four bytes are an operation: what, where, how much, how.
func FuzzPoison(f *testing.F) {
	f.Add([]byte("a\x00\x40\x00l\x10\x10\x00d\x00\xff\x00h\x05\x01\x00u\x00\xff\x00"))
	f.Add([]byte("l\x10\x20\x01a\x18\x04\x02l\x00\xff\x00d\x12\x03\x00u\x00\x20\x00h\x18\x01\x00"))
	f.Fuzz(func(t *testing.T, script []byte) {
		const n = 64
		var p Poison
		want := make([]line, n)
		for ; len(script) >= 4; script = script[4:] {
			// In eighths of a line, so that edges are within lines too.
			offset, length := uint64(script[1]%(n/2))*LineSize+uint64(script[3]>>5)*8, uint64(script[2]%(n/2*8-8)+1)*8
			first, last := int(offset/LineSize), int((offset+length-1)/LineSize)
			if last >= n {
				continue
			}
			before := slices.Clone(p)
			old := p
			each := func(change func(*line)) {
				for i := first; i <= last; i++ {
					change(&want[i])
				}
			}
			switch script[0] {
			case 'a', 'l':
				r := PoisonedRange{offset, length, script[0] == 'l', script[3]&1 != 0, script[3]&2 != 0}
				var err error
				if p, err = p.Add(r); err != nil {
					t.Fatal(err)
				}
				each(func(l *line) {
					if r.Latent && l.poisoned && !l.latent {
						l.injected, l.stuck = l.injected || r.Injected, l.stuck || r.Stuck
					} else if r.Latent && l.poisoned {
						*l = line{true, true, l.injected || r.Injected, l.stuck || r.Stuck}
					} else {
						*l = line{true, r.Latent, r.Injected, r.Stuck}
					}
				})
			case 'h':
				p = p.Heal(offset, length)
				each(func(l *line) { *l = line{} })
			case 'd':
				p = p.Discover(offset, length)
				each(func(l *line) { l.latent = false })
			case 'u':
				p = p.Uninject(offset, length)
				each(func(l *line) {
					if l.injected {
						*l = line{}
					}
				})
			default:
				continue
			}
			if !slices.Equal(p.lines(n), want) {
				t.Fatalf("%c of %d bytes at %d makes %+v of %+v", script[0], length, offset, p, before)
			}
			if !slices.Equal(old, before) {
				t.Fatalf("%c changes the list that it was given", script[0])
			}
			end := uint64(0)
			for i, r := range p {
				if r.Length == 0 || r.Offset%LineSize != 0 || r.Length%LineSize != 0 || r.Offset < end || i > 0 && r.Offset == end && r.like(p[i-1]) {
					t.Fatalf("%c leaves %+v: want whole lines, apart and in order", script[0], p)
				}
				end = r.end()
			}
		}
	})
}

func TestPoisonHasALimit(t *testing.T) {
	var p Poison
	for i := range maxPoison {
		var err error
		if p, err = p.Add(PoisonedRange{Offset: uint64(i) * 2 * LineSize, Length: 1}); err != nil {
			t.Fatal(err)
		}
	}
	_, err := p.Add(PoisonedRange{Offset: 1 << 30, Length: 1})
	if want := "4097 poisoned ranges: a DIMM has at most 4096"; fmt.Sprint(err) != want {
		t.Errorf("one range too many: %v, want %s", err, want)
	}
	if p, err = p.Add(PoisonedRange{Offset: LineSize, Length: 1}); err != nil || len(p) != maxPoison-1 {
		t.Errorf("a line that joins two: %d ranges, %v", len(p), err)
	}
}
