package kvm

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// vcpu is one processor with a thread of its own: KVM is at its best where one
// thread runs a processor all its life.
type vcpu struct {
	file
	id     int
	mem    []byte
	area   *runArea
	work   chan func() // what the thread is to do
	thread int
	inside atomic.Bool // in KVM_RUN, or about to be
}

// newVCPU makes a processor and starts its thread.
func newVCPU(m *virtualMachine, id, runSize int, model *cpuidEntries) (_ *vcpu, err error) {
	fd, err := m.do(reqCreateVCPU, uintptr(id))
	if err != nil {
		return nil, fmt.Errorf("KVM_CREATE_VCPU: %w", err)
	}
	v := &vcpu{file: file{m.host, fd}, id: id, work: make(chan func())}
	defer func() {
		if err != nil {
			err = errors.Join(err, v.close())
		}
	}()
	if v.mem, err = m.host.mmap(fd, runSize); err != nil {
		return nil, fmt.Errorf("mapping a processor: %w", err)
	}
	v.area = area(v.mem)
	if err := pass(v.file, reqSetCPUID, model.of(id)); err != nil {
		return nil, fmt.Errorf("KVM_SET_CPUID2: %w", err)
	}
	if err := v.memoryTypes(); err != nil {
		return nil, err
	}
	ready := make(chan int)
	go v.serve(ready)
	v.thread = <-ready
	return v, nil
}

// serve is the thread, which ends with its goroutine.
func (v *vcpu) serve(ready chan<- int) {
	runtime.LockOSThread()
	debug.SetPanicOnFault(true)
	ready <- unix.Gettid()
	for f := range v.work {
		f()
	}
}

// close ends the thread and gives back what the processor holds.
func (v *vcpu) close() error {
	close(v.work)
	var err error
	if v.mem != nil {
		err = v.host.munmap(v.mem)
		v.mem, v.area = nil, nil
	}
	return errors.Join(err, v.host.close(v.fd))
}

// interrupt takes the processor out of KVM_RUN, or keeps it from entering. The
// order of the two matters: who enters after the look sees the flag.
func (v *vcpu) interrupt() {
	v.area.setImmediate(true)
	if v.inside.Load() {
		v.host.signal(v.thread)
	}
}

// run executes until the round is over. KVM completes the access that a device
// answered before it looks at the flag, so no instruction is left half done.
func (v *vcpu) run(r *round) {
	defer func() {
		if x := recover(); x != nil {
			r.fail(r.p.failure(x))
		}
	}()
	for v.mayRun(r) {
		for {
			v.inside.Store(true)
			_, err := v.host.ioctl(v.fd, reqRun, 0)
			v.inside.Store(false)
			if err == nil {
				if v.area.reason == exitIntr {
					break
				}
				if !v.exit(r) {
					return
				}
				continue
			}
			// EAGAIN: a processor that was not started has been looked at.
			if errors.Is(err, unix.EINTR) || errors.Is(err, unix.EAGAIN) {
				break
			}
			r.fail(r.p.runError(v, err))
			return
		}
	}
}

// mayRun makes KVM_RUN wait for exits again, unless the round is over.
func (v *vcpu) mayRun(r *round) bool {
	if r.over.Load() {
		return false
	}
	v.area.setImmediate(false)
	return !r.over.Load()
}

// asleep says that nothing can wake the processor any more: it halts with
// interrupts off, or was never started.
func (v *vcpu) asleep() (bool, error) {
	var state uint32
	if err := pass(v.file, reqGetMPState, &state); err != nil {
		return false, fmt.Errorf("KVM_GET_MP_STATE: %w", err)
	}
	if state != mpHalted {
		return state != mpRunnable, nil
	}
	var regs registers
	if err := pass(v.file, reqGetRegs, &regs); err != nil {
		return false, fmt.Errorf("KVM_GET_REGS: %w", err)
	}
	return regs.rflags&flagIF == 0, nil
}

// rip is where the processor is, 0 if that cannot be had.
func (v *vcpu) rip() uint64 {
	var regs registers
	if pass(v.file, reqGetRegs, &regs) != nil {
		return 0
	}
	return regs.rip
}
