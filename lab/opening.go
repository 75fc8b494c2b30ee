package lab

import (
	"cmp"
	"context"
	"reflect"
	"time"

	"nvlab/guest/proto"
	"nvlab/internal/pages"
	"nvlab/vmm"
)

// An opening is what the executions of a recovery have in common: its first call, up to a
// moment before the guest looks at anything in which states differ. The machine comes there
// once, and executions go on from there.
type opening struct {
	firstCall
	snapshot *VMSnapshot   // amid the call
	id       uint32        // of its request
	spent    time.Duration // guest time since the call
}

// A firstCall is the first call of a recovery that runs its guest.
type firstCall struct {
	request proto.Request
	timeout time.Duration
}

// sameAs says that a call asks the guest for the same.
func (c *firstCall) sameAs(request proto.Request, timeout time.Duration) bool {
	return timeout == c.timeout && reflect.DeepEqual(request, c.request)
}

// A beginning is what a VM is in from the begin of a recovery to the first use of it.
type beginning struct {
	opening *opening     // amid whose call the machine is; nil if no call was begun
	back    func() error // brings it to where no call was begun
	first   *firstCall   // what came instead of the opening's, if that is a call
	start   time.Duration
}

// Settle has a VM that a recovery got be as the recovery was to find it. Before its first call
// it may be further, amid the call that recoveries made there until now. Whoever looks at
// the VM by anything but a call settles it before.
func (v *VM) Settle() error {
	b := v.beginning
	v.beginning = nil
	if b == nil || b.opening == nil {
		return nil
	}
	return b.back()
}

// resume is call of a machine that is amid it.
func (v *VM) resume(ctx context.Context, o *opening, doing string) (*proto.Result, error) {
	v.depart()
	left := cmp.Or(o.timeout, DefaultTimeout) - o.spent
	return v.await(ctx, o.id, doing, o.timeout, func(_ uint32, answered func() bool) (vmm.Stop, error) { return v.run(ctx, left, answered) })
}

// A firstLook is lines in which states differ, and notes when the guest first looks at
// one, copies it or stores to it.
type firstLook struct {
	*spaceLines
	v    *VM
	seen bool
	at   time.Duration // at most the guest's clock then
}

func (f *firstLook) note() {
	if !f.seen {
		f.seen, f.at = true, f.v.Clock()
	}
}

func (f *firstLook) look(slot int, offset, n uint64) { f.note() }

func (f *firstLook) number(slot int, n uint64) (int, bool) {
	i, ok := f.spaceLines.number(slot, n)
	if ok {
		f.note()
	}
	return i, ok
}

// leastOpening is what an opening is worth having for, in guest time: as many
// instructions as nanoseconds.
const leastOpening = 100 * time.Microsecond

// open has the VM come to the opening of executions that begin with a call, and look at
// what differs after some guest time. There may be none. Processors do not stop to the
// nanosecond, nor do all stores show at once.
func (x *explorer) open(ctx context.Context, v *VM, c *firstCall, looks time.Duration) (err error) {
	for _, part := range []time.Duration{64, 16, 4, 2} {
		within := looks - looks/part
		if within < leastOpening {
			return nil
		}
		if x.opening, err = x.openWithin(ctx, v, c, within); err != nil || x.opening != nil {
			return err
		}
	}
	return nil
}

func (x *explorer) openWithin(ctx context.Context, v *VM, c *firstCall, within time.Duration) (*opening, error) {
	if err := v.watchReads(nil); err != nil {
		return nil, err
	}
	if err := v.Restore(ctx, x.base); err != nil {
		return nil, err
	}
	look := &firstLook{spaceLines: x.space, v: v}
	if _, err := v.watch(look); err != nil {
		return nil, err
	}
	start := v.Clock()
	id, err := v.send(c.request)
	if err != nil {
		return nil, err
	}
	stop, err := v.run(ctx, within, func() bool { return v.client.Done(id) })
	if err != nil {
		return nil, err
	}
	if err := v.watchReads(nil); err != nil {
		return nil, err
	}
	if stop != vmm.StopDeadline || look.seen || v.client.Err() != nil || v.fault() != nil {
		return nil, nil
	}
	if stored, err := x.stored(v); stored || err != nil {
		return nil, err
	}
	o := &opening{firstCall: *c, id: id, spent: v.Clock() - start}
	if o.spent >= cmp.Or(c.timeout, DefaultTimeout) {
		return nil, nil
	}
	o.snapshot, err = v.save()
	if err == nil {
		x.saved = append(x.saved, o.snapshot)
	}
	return o, err
}

// stored says that the VM, which was x.base, stored to pages in which states differ.
func (x *explorer) stored(v *VM) (bool, error) {
	changed, err := v.power.Changed(x.base.nvdimms)
	if err != nil {
		return false, &Error{Class: ClassHost, Err: err}
	}
	for slot, list := range changed {
		for _, n := range list {
			for range x.space.within(slot, n*pages.Size, pages.Size) {
				return true, nil
			}
		}
	}
	return false, nil
}
