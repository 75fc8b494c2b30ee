package kvm

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"nvlab/vmm"
)

// round is a stretch of execution between two looks at the processors.
type round struct {
	p    *processors
	over atomic.Bool

	mu   sync.Mutex
	exit vmm.Exit
	look bool // ended to look, not to return
	err  error
}

// finish ends the round with what set says, unless it has ended. What a device
// asks for while the processors come out for a look still counts.
func (r *round) finish(look bool, set func()) {
	r.mu.Lock()
	if r.over.Load() && (look || !r.look) {
		r.mu.Unlock()
		return
	}
	r.look = look
	set()
	r.over.Store(true)
	r.mu.Unlock()
	r.p.interrupt()
}

func (r *round) end(exit vmm.Exit) { r.finish(false, func() { r.exit = exit }) }
func (r *round) fail(err error)    { r.finish(false, func() { r.err = err }) }
func (r *round) pause()            { r.finish(true, func() {}) }

// A halted processor with interrupts off sleeps within KVM, and so does one
// with interrupts on that needs memory which is gone (an asynchronous page
// fault, which is tried for ever). The engine looks for both: soon at first,
// then seldom.
const (
	firstLook = 5 * time.Millisecond
	lastLook  = 320 * time.Millisecond
)

// rounds runs the processors until there is something to return.
func (p *processors) rounds(ctx context.Context, deadline time.Duration) (vmm.Exit, error) {
	for wait := firstLook; ; wait = min(2*wait, lastLook) {
		left := deadline - p.Clock()
		if left <= 0 {
			return vmm.ExitDeadline, nil
		}
		if look, exit, err := p.round(ctx, min(wait, left)); !look {
			return exit, err
		}
		if err := p.lost(); err != nil {
			return 0, err
		}
		for i, v := range p.cpus {
			if asleep, err := v.asleep(); err != nil {
				return 0, err
			} else if !asleep {
				break
			} else if i == len(p.cpus)-1 {
				return vmm.ExitDead, nil
			}
		}
	}
}

// round runs the processors for d at most, and then says to look at them.
func (p *processors) round(ctx context.Context, d time.Duration) (look bool, exit vmm.Exit, err error) {
	r := &round{p: p}
	p.current.Store(r)
	defer p.current.Store(nil)
	defer context.AfterFunc(ctx, func() { r.fail(ctx.Err()) })()
	defer time.AfterFunc(d, r.pause).Stop()
	if p.kicked.Swap(false) {
		r.end(vmm.ExitStopped)
	}
	var all sync.WaitGroup
	for _, v := range p.cpus {
		all.Add(1)
		v.work <- func() {
			defer all.Done()
			v.run(r)
		}
	}
	all.Wait()
	r.mu.Lock() // a timer may be late
	defer r.mu.Unlock()
	return r.look, r.exit, r.err
}

// failure turns what a processor's thread panicked with into an error.
func (p *processors) failure(x any) error {
	if e, ok := x.(interface{ Addr() uintptr }); ok {
		for _, s := range p.vm.slots {
			if off := uint64(e.Addr()) - address(s.Mem); s.Mem != nil && off < uint64(len(s.Mem)) {
				return &vmm.LostMemoryError{Base: s.Base, Offset: off}
			}
		}
	}
	stack := debug.Stack()
	if err, ok := x.(runtime.Error); ok {
		x = err.Error()
	}
	return fmt.Errorf("defect in the KVM engine or a device: %v\n%s", x, stack)
}

// runError says why KVM_RUN failed. EFAULT is memory that KVM could not reach:
// that which someone truncated, if there is any.
func (p *processors) runError(v *vcpu, err error) error {
	if lost := p.lost(); lost != nil {
		return lost
	}
	return fmt.Errorf("KVM_RUN at rip=%#x: %w", v.rip(), err)
}

// lost is a *vmm.LostMemoryError if memory went away.
func (p *processors) lost() error {
	for _, s := range p.vm.slots {
		if off, lost := firstLost(s); lost {
			return &vmm.LostMemoryError{Base: s.Base, Offset: off}
		}
	}
	return nil
}

// firstLost is the first page of a slot that its file has no more: a file is
// cut at its end.
func firstLost(s slot) (offset uint64, lost bool) {
	pages := len(s.Mem) / 4096
	if !s.Revocable || pages == 0 || readable(s.Mem, pages-1) {
		return 0, false
	}
	low, high := 0, pages-1 // high is lost
	for low < high {
		if mid := (low + high) / 2; readable(s.Mem, mid) {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return uint64(low) * 4096, true
}

// readable looks at a page.
func readable(mem []byte, page int) (ok bool) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() { ok = recover() == nil }()
	sink.Store(uint32(mem[page*4096]))
	return true
}

var sink atomic.Uint32
