package label

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// A Judge says whether a label area that a power failure left is one of those
// it may have left: whether the namespaces in force are, all of them, those
// before an update or those after it, never some of each and never none.
type Judge struct {
	legal []inForce
	texts []string
}

// inForce stands for the labels that Linux takes for namespaces, in any slot.
type inForce struct {
	valid  bool // an index block is
	labels int
	sum    [2]uint64 // XOR of their hashes
}

// NewJudge judges by areas as they may be: before and after an update.
func NewJudge(legal ...[]byte) *Judge {
	j := &Judge{}
	for _, area := range legal {
		j.legal = append(j.legal, inForceOf(area))
		j.texts = append(j.texts, namespaces(area))
	}
	return j
}

// Check is nil for an area with the namespaces of one that is legal. The error
// says what is in force instead.
func (j *Judge) Check(area []byte) error {
	got := inForceOf(area)
	if slices.Contains(j.legal, got) {
		return nil
	}
	texts := slices.Compact(slices.Clone(j.texts))
	return fmt.Errorf("namespaces in force: %s; want %s", namespaces(area), strings.Join(texts, ", or "))
}

// inForceOf looks at the index blocks, and at the labels that the current one
// marks used.
func inForceOf(area []byte) inForce {
	a := readIndex(area, V12)
	if a.Current < 0 {
		if old := readIndex(area, V11); old.Current >= 0 {
			a = old
		}
	}
	x := a.CurrentIndex()
	if x == nil {
		return inForce{}
	}
	f := inForce{valid: true}
	for i, b := range x.Free {
		if b == 0xff {
			continue
		}
		for slot := 8 * i; slot < min(8*i+8, int(x.NSlot)); slot++ {
			if !x.IsFree(slot) {
				f.add(area, a.Geometry, slot)
			}
		}
	}
	return f
}

// add counts a label, but for the slot that it is in.
func (f *inForce) add(area []byte, g Geometry, slot int) {
	at := g.LabelOffset(slot)
	p := area[at : at+g.Version.LabelSize()]
	le := binary.LittleEndian
	if le.Uint32(p[120:]) != uint32(slot) || allZero(p) || g.Version == V12 && ChecksumOf(p, 248) != le.Uint64(p[248:]) {
		return // Linux passes over it (label.c, slot_valid)
	}
	var b [labelSize12]byte
	n := copy(b[:], p)
	clear(b[120:124])
	if g.Version == V12 {
		clear(b[248:256])
	}
	sum := sha256.Sum256(b[:n])
	f.labels++
	f.sum[0] ^= le.Uint64(sum[:])
	f.sum[1] ^= le.Uint64(sum[8:])
}

// namespaces describes what is in force.
func namespaces(area []byte) string {
	a := Parse(area)
	if a.CurrentIndex() == nil {
		return "none, no index block is valid"
	}
	if len(a.Active) == 0 {
		return "none"
	}
	var list []string
	for _, l := range a.Active {
		list = append(list, fmt.Sprintf("%v %q at %#x+%#x", l.UUID, l.Name, l.DPA, l.RawSize))
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}
