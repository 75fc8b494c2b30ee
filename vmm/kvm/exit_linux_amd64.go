package kvm

import (
	"encoding/binary"
	"fmt"

	"nvlab/vmm"
)

// exit does what KVM asks for, and says whether the processor goes on.
func (v *vcpu) exit(r *round) bool {
	e := v.area.exit[:]
	switch v.area.reason {
	case exitIO:
		v.ports(r.p, e)
	case exitMMIO:
		addr, n := binary.LittleEndian.Uint64(e), min(binary.LittleEndian.Uint32(e[16:]), 8)
		if write := e[20] != 0; write {
			r.p.store(addr, e[8:8+n])
		} else {
			r.p.load(addr, e[8:8+n])
		}
	case exitIOAPICEOI:
		r.p.busy.Lock()
		defer r.p.busy.Unlock()
		r.p.bus.EndOfInterrupt(e[0])
	case exitWriteMSR:
		const refused = 0 // run.msr.error: the guest gets a #GP
		e[refused] = 1
		index, value := binary.LittleEndian.Uint32(e[12:]), binary.LittleEndian.Uint64(e[16:])
		if index == msrWallClock && r.p.tellDate(value) {
			e[refused] = 0
		}
	case exitShutdown:
		r.end(vmm.ExitTripleFault)
		return false
	case exitHLT, exitDebug:
		r.fail(fmt.Errorf("KVM left the guest for no reason of this machine's (exit %d)", v.area.reason))
		return false
	case exitFailEntry:
		r.fail(fmt.Errorf("the hardware refuses to enter the guest at rip=%#x: reason %#x", v.rip(), binary.LittleEndian.Uint64(e)))
		return false
	case exitInternalError:
		r.fail(v.internalError(e))
		return false
	default:
		r.fail(fmt.Errorf("KVM left the guest at rip=%#x for a reason that this program does not know: %d", v.rip(), v.area.reason))
		return false
	}
	return true
}

// ports does an IN or OUT, or a run of them (INS, OUTS).
func (v *vcpu) ports(p *processors, e []byte) {
	out, size := e[0] != 0, int(e[1])
	port, count := binary.LittleEndian.Uint16(e[2:]), binary.LittleEndian.Uint32(e[4:])
	data := v.mem[binary.LittleEndian.Uint64(e[8:]):]
	p.busy.Lock()
	defer p.busy.Unlock()
	for range count {
		var b [4]byte
		if out {
			copy(b[:], data[:size])
			p.bus.PortOut(port, size, binary.LittleEndian.Uint32(b[:]))
		} else {
			binary.LittleEndian.PutUint32(b[:], p.bus.PortIn(port, size))
			copy(data[:size], b[:])
		}
		data = data[size:]
	}
}

// internalError reads KVM_EXIT_INTERNAL_ERROR; KVM gives the instruction's
// bytes since Linux 5.14.
func (v *vcpu) internalError(e []byte) error {
	const hasBytes = 1
	suberror, words := binary.LittleEndian.Uint32(e), binary.LittleEndian.Uint32(e[4:])
	if suberror != internalEmulation {
		return fmt.Errorf("KVM failed at rip=%#x: internal error %d", v.rip(), suberror)
	}
	err := &EmulationError{RIP: v.rip()}
	if words >= 3 && binary.LittleEndian.Uint64(e[8:])&hasBytes != 0 {
		err.Code = append(err.Code, e[17:17+min(e[16], 15)]...)
	}
	return err
}

// store takes a store that reached no memory, or memory that KVM must not
// write by itself, or memory that is gone: the copy fails then, as it should.
func (p *processors) store(addr uint64, data []byte) {
	p.busy.Lock()
	defer p.busy.Unlock()
	if r, ok := p.vm.find(addr); ok {
		if !r.ReadOnly {
			r.write(addr, data)
		}
		return
	}
	for step := width(data); len(data) > 0; addr, data = addr+uint64(step), data[step:] {
		var b [8]byte
		copy(b[:], data[:step])
		p.bus.MMIOWrite(addr, step, binary.LittleEndian.Uint64(b[:]))
	}
}

// load answers a load that reached no memory, or memory that is gone.
func (p *processors) load(addr uint64, data []byte) {
	p.busy.Lock()
	defer p.busy.Unlock()
	if r, ok := p.vm.find(addr); ok {
		copy(data, r.Mem[addr-r.Base:])
		return
	}
	for step := width(data); len(data) > 0; addr, data = addr+uint64(step), data[step:] {
		var b [8]byte
		binary.LittleEndian.PutUint64(b[:], p.bus.MMIORead(addr, step))
		copy(data[:step], b[:])
	}
}

// width is how many bytes at a time the bus takes.
func width(data []byte) int {
	switch n := len(data); n {
	case 2, 4, 8:
		return n
	}
	return 1
}
