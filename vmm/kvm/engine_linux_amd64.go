package kvm

import (
	"cmp"
	"errors"
	"fmt"

	"nvlab/vmm"
)

// New returns processors that are off, with no memory.
func (e Engine) New(spec vmm.ProcessorSpec, bus vmm.Bus) (_ vmm.Processors, err error) {
	if spec.Count < 1 || bus == nil {
		return nil, &unusable{why: fmt.Sprintf("KVM needs a processor and a bus, not %d processors", spec.Count)}
	}
	dev, err := openDevice(cmp.Or[host](e.host, linux{}))
	if err != nil {
		return nil, err
	}
	if spec.MachineCheck {
		return nil, &unusable{why: "it cannot raise a machine check right at a load"}
	}
	p := &processors{dev: dev, count: spec.Count, bus: bus}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.Close())
		}
	}()
	if most, err := dev.do(reqCheckExtension, capMaxVCPUs); err == nil && most > 0 && spec.Count > most {
		return nil, &unusable{why: fmt.Sprintf("the host's KVM runs %d processors at most, not %d", most, spec.Count)}
	}
	host, err := supported(dev)
	if err != nil {
		return nil, err
	}
	if has := int(host.lookup(0x8000_0008, 0).eax & 0xff); has != 0 && spec.PhysBits > has {
		return nil, &unusable{why: fmt.Sprintf("the host's processor has %d physical address bits, not %d", has, spec.PhysBits)}
	}
	p.clock.offered = offersClock(dev, host)
	p.clock.date = spec.Date
	p.model = processorModel(host, spec.PackageCores(), spec.PhysicalBits(), p.clock.offered)
	return p, p.assemble()
}

// TSCKHz is the frequency of a guest's time-stamp counter, 0 if KVM runs no
// guest here.
func (e Engine) TSCKHz() uint64 {
	if e.host != nil {
		return 0
	}
	return Probe().TSCKHz
}
