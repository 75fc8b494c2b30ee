package judge

import (
	"bytes"
	"errors"
	"fmt"

	"nvlab/nvdimm/infoblock"
	"nvlab/nvdimm/persist"
)

// InfoBlocks looks at crash states of the info blocks that the
// command wrote, of fsdax, devdax and sector mode. In each a block must be as
// it was, or one that Linux does not take for a block, or sound. It returns
// how many states are not so, and findings of the first of them.
func (r *Record) InfoBlocks(s *persist.Search) (failed int, findings []Finding, err error) {
	var blocks []*infoBlock
	known := map[*DIMM]map[uint64]*infoBlock{}
	for m, l := range r.Stored() {
		at := l.N * persist.LineSize
		d := r.dimm(m)
		if d == nil || !infoblock.Begins(l.Bytes[:]) || at%infoblock.Size != 0 || at+infoblock.Size > d.Backend-d.LabelSize || known[d][at] != nil {
			continue
		}
		b := &infoBlock{dimm: d, at: at}
		if _, err := d.Start.ReadAt(b.bytes[:], int64(at)); err != nil {
			return 0, nil, err
		}
		b.start = b.bytes
		if known[d] == nil {
			known[d] = map[uint64]*infoBlock{}
		}
		known[d][at], b.others = b, known[d]
		blocks = append(blocks, b)
	}
	if len(blocks) == 0 {
		return 0, nil, errors.New("the command wrote no info block of a namespace")
	}
	of := func(m *persist.Medium, n uint64) *infoBlock {
		return known[r.dimm(m)][n*persist.LineSize/infoblock.Size*infoblock.Size]
	}
	for v := range s.Views(r.Journal) {
		var changed []*infoBlock
		v.Fresh(func(m *persist.Medium, n uint64, visible []byte) {
			if b := of(m, n); b != nil {
				copy(b.bytes[n*persist.LineSize-b.at:], visible)
				changed = append(changed, b)
			}
		})
		v.Undecided(func(m *persist.Medium, n uint64, _, left []byte, _ uint64) {
			if b := of(m, n); b != nil {
				copy(b.bytes[n*persist.LineSize-b.at:], left)
				changed = append(changed, b)
			}
		})
		for _, b := range changed {
			if err := b.check(); err != nil {
				if failed++; len(findings) < maxFindings {
					findings = append(findings, Finding{v.State(), fmt.Sprintf("nvdimm %q, info block at %#x: %v", b.dimm.Name, b.at, err)})
				}
				break
			}
		}
		v.Undecided(func(m *persist.Medium, n uint64, visible, _ []byte, _ uint64) {
			if b := of(m, n); b != nil {
				copy(b.bytes[n*persist.LineSize-b.at:], visible)
			}
		})
	}
	return failed, findings, nil
}

// infoBlock is an info block as a crash state leaves it.
type infoBlock struct {
	dimm         *DIMM
	at           uint64 // in the DIMM
	bytes, start [infoblock.Size]byte
	others       map[uint64]*infoBlock // of the DIMM
}

// check says why Linux would take the block for one, and be wrong. A namespace
// may reach from the block, which is at 4 KiB in it, to the DIMM's end.
func (b *infoBlock) check() error {
	if bytes.Equal(b.bytes[:], b.start[:]) {
		return nil
	}
	rest := b.dimm.Size - b.at
	if arena, err := infoblock.ParseBTT(b.bytes[:]); err == nil {
		if b.others[b.at-arena.Info2Off] != nil {
			return nil // it is the copy at an arena's end
		}
		return arena.Check(rest)
	}
	if block, err := infoblock.ParsePFN(b.bytes[:]); err == nil {
		return block.Check(b.dimm.Addr+b.at-min(b.at, infoblock.Size), rest+min(b.at, infoblock.Size))
	}
	return nil
}
