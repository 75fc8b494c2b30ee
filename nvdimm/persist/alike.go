package persist

import (
	"slices"

	"nvlab/vmm/observe"
)

// plain is an event that is no fence, a store at a time, and how CPUs fenced
// between the one before and it.
type plain struct {
	pastEvent
	store  observe.Streamed
	fenced fences
}

// fences are how each CPU fenced; a machine has fewer.
type fences [16]observe.Order

// add adds a fence of a CPU. What LOCK orders, which is all that these do (Model.Fence),
// is ordered once: compiled code tells of LOCK in place of what it follows.
func (f *fences) add(vcpu uint8, o observe.Order) {
	all := &f[int(vcpu)%len(f)]
	if *all |= o; *all&observe.Lock != 0 {
		*all &^= observe.Serializing | observe.PortIO | observe.Uncached | observe.Interrupt | observe.Exception
	}
}

// Alike says that two pasts tell the same: of the same stores, flushes and what
// else is no fence, between which the CPUs fenced in the same ways. An engine may
// tell of several fences in a row as of one or two, and fences with nothing before
// them order nothing.
func (p *Past) Alike(o *Past) bool {
	return p.forgotten == o.forgotten && slices.Equal(p.plain(), o.plain())
}

func (p *Past) plain() (list []plain) {
	var fenced fences
	for e, stores := range p.all {
		if e.what == pastFence {
			if len(list) > 0 {
				fenced.add(e.by.VCPU, e.order)
			}
			continue
		}
		x := plain{pastEvent: *e, fenced: fenced}
		x.first, fenced = 0, fences{}
		for _, x.store = range stores {
			list = append(list, x)
			x.fenced = fenced
		}
		if len(stores) == 0 {
			list = append(list, x)
		}
	}
	return append(list, plain{fenced: fenced})
}
