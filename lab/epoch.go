package lab

import (
	"fmt"

	"nvlab/nvdimm/backend"
	"nvlab/nvdimm/persist"
)

// Where single stores are not seen, stores to flush hints still are: they end
// an epoch, at whose end all that was visible is taken for durable (R13).

// track notes what a DIMM holds at power-on, if a power cut may need it.
func (p *power) track(d *NVDIMM) error {
	if p.blind == nil || p.v.opts.FlushHints == 0 || p.epochs[d] != nil {
		return nil
	}
	s, err := d.backend.b.Snapshot()
	if err != nil {
		return &Error{Class: ClassHost, Err: err}
	}
	if p.epochs == nil {
		p.epochs = map[*NVDIMM]*backend.Snapshot{}
	}
	p.epochs[d] = s
	return nil
}

// endEpoch is a store to a flush hint of a DIMM.
func (p *power) endEpoch(d *NVDIMM) {
	if s := p.epochs[d]; s != nil {
		if err := d.backend.b.Update(s); err != nil {
			p.v.lose(err)
		}
	}
}

// FallsBack says that a power cut which keeps so much goes back to the last
// store to a flush hint, because single stores are not seen.
func (v *VM) FallsBack(keep persist.Keep) (why string, ok bool) {
	err := v.power.unseen()
	if err == nil || keep != persist.KeepNone || v.opts.FlushHints == 0 {
		return "", false
	}
	return fmt.Sprintf("%v: each NVDIMM goes back to what it held at the latest store to one of its flush hints, and label areas stay as they are", err), true
}

// fallBack undoes what came after the latest epochs. Labels are durable.
func (p *power) fallBack() {
	for _, d := range p.v.dimms {
		if s := p.epochs[d]; s != nil {
			unlessLost(func() { d.backend.b.Revert(s, d.backend.Size()-d.LabelSize()) })
		}
	}
}
