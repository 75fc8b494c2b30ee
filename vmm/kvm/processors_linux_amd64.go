package kvm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"nvlab/vmm"
)

// processors implements vmm.Processors.
type processors struct {
	dev   file
	count int
	model *cpuidEntries // of every processor
	bus   vmm.Bus
	busy  sync.Mutex // held around every call to the bus

	vm    *virtualMachine
	cpus  []*vcpu
	watch stopwatch
	tsc   counters
	clock guestClock

	started bool
	ended   error // what every further Run returns
	triple  bool  // a triple fault was the end

	// alive is held for reading by who interrupts processors, which any
	// goroutine may do at any time, and for writing to make or end them.
	alive   sync.RWMutex
	current atomic.Pointer[round]
	kicked  atomic.Bool
}

// assemble makes the machine and its processors.
func (p *processors) assemble() (err error) {
	runSize, err := p.dev.do(reqRunSize, 0)
	if err != nil {
		return fmt.Errorf("KVM_GET_VCPU_MMAP_SIZE: %w", err)
	}
	p.alive.Lock()
	defer p.alive.Unlock()
	if p.vm, err = newVM(p.dev); err != nil {
		return err
	}
	if err := p.vm.splitChip(); err != nil {
		return err
	}
	if p.clock.offered {
		if err := p.vm.watchWallClock(); err != nil {
			return err
		}
	}
	for id := range p.count {
		v, err := newVCPU(p.vm, id, runSize, p.model)
		if err != nil {
			return err
		}
		p.cpus = append(p.cpus, v)
	}
	return nil
}

// dismantle gives all of it back. KVM frees the machine with its last
// descriptor.
func (p *processors) dismantle() error {
	p.alive.Lock()
	defer p.alive.Unlock()
	var errs []error
	for _, v := range p.cpus {
		errs = append(errs, v.close())
	}
	p.cpus = nil
	if p.vm != nil {
		errs = append(errs, p.vm.close())
		p.vm = nil
	}
	return errors.Join(errs...)
}

func (p *processors) Map(r vmm.Region) error { return p.vm.add(r) }

func (p *processors) Unmap(base uint64) error { return p.vm.remove(base) }

// Start puts the first processor at entry. A second start is of processors
// made anew: that resets everything that KVM keeps.
func (p *processors) Start(e vmm.Entry) error {
	if p.started {
		slots, all := p.vm.slots, p.vm.log.all
		if err := p.dismantle(); err != nil {
			return err
		}
		if err := p.assemble(); err != nil {
			return err
		}
		p.vm.log.all = all
		for _, s := range slots {
			if s.Mem == nil {
				continue
			}
			if err := p.vm.add(s.Region); err != nil {
				return err
			}
		}
	}
	if err := p.cpus[0].enter(e); err != nil {
		return err
	}
	p.watch.set(0)
	p.tsc, p.clock.at = counters{}, 0
	p.started, p.ended, p.triple = true, nil, false
	return nil
}

// Interrupt delivers a message.
func (p *processors) Interrupt(i vmm.Interrupt) {
	if err := p.vm.signal(i); err != nil {
		p.ended = err
		p.Stop()
	}
}

// Stop ends the Run in progress.
func (p *processors) Stop() {
	if r := p.current.Load(); r != nil {
		r.end(vmm.ExitStopped)
	}
}

// Kick ends the Run in progress, or the next one, soon.
func (p *processors) Kick() {
	p.kicked.Store(true)
	if r := p.current.Load(); r != nil {
		r.pause() // the next round sees the flag
	}
}

// interrupt takes every processor out of the guest.
func (p *processors) interrupt() {
	p.alive.RLock()
	defer p.alive.RUnlock()
	for _, v := range p.cpus {
		v.interrupt()
	}
}

func (p *processors) Clock() time.Duration { return p.watch.read() }

// Stats is empty: KVM counts no instructions.
func (p *processors) Stats() vmm.Stats { return vmm.Stats{} }

func (p *processors) Close() error {
	p.started = false
	return errors.Join(p.dismantle(), p.dev.host.close(p.dev.fd))
}

// Run executes until something ends it. A deadline is kept as well as the
// host's timers keep theirs.
func (p *processors) Run(ctx context.Context, deadline time.Duration) (vmm.Exit, error) {
	switch {
	case p.ended != nil:
		return 0, p.ended
	case !p.started:
		return 0, errors.New("run before start")
	case p.triple:
		return vmm.ExitTripleFault, nil
	}
	if err := p.startTSC(); err != nil {
		return 0, err
	}
	if err := p.startClock(); err != nil { // computed from the counters
		return 0, err
	}
	p.watch.start()
	exit, err := p.rounds(ctx, deadline)
	p.watch.stop()
	if err != nil && err != ctx.Err() {
		p.ended = err
	}
	if p.ended == nil {
		p.ended = errors.Join(p.stopTSC(), p.stopClock(), p.vm.tellDirty())
	}
	if err = cmp.Or(p.ended, err); err != nil {
		return 0, err
	}
	p.triple = exit == vmm.ExitTripleFault
	return exit, nil
}
