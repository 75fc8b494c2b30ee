package kvm

import (
	"fmt"

	"golang.org/x/sys/unix"

	"nvlab/vmm"
)

const (
	cr0Boot = 1<<31 | 1<<16 | 1<<5 | 1<<4 | 1<<0 // PG, WP, NE, ET, PE
	cr4PAE  = 1 << 5
	eferSCE = 1 << 0
	eferLME = 1 << 8
	eferLMA = 1 << 10

	flagsFixed = 1 << 1 // RFLAGS' bit that is always set
	flagIF     = 1 << 9
)

func codeSegment(selector uint16, dpl uint8) segment {
	return segment{limit: ^uint32(0), selector: selector, kind: 11, present: 1, dpl: dpl, s: 1, l: 1, g: 1}
}

func dataSegment(selector uint16, dpl uint8) segment {
	return segment{limit: ^uint32(0), selector: selector, kind: 3, present: 1, dpl: dpl, db: 1, s: 1, g: 1}
}

// enter puts the first processor at a 64-bit entry.
func (v *vcpu) enter(e vmm.Entry) error {
	var s specialRegisters
	if err := pass(v.file, reqGetSregs, &s); err != nil {
		return fmt.Errorf("KVM_GET_SREGS: %w", err)
	}
	s.cs = codeSegment(0x10, 0)
	data := dataSegment(0x18, 0)
	s.ds, s.es, s.fs, s.gs, s.ss = data, data, data, data, data
	s.tr = segment{kind: 11, present: 1}
	s.ldt = segment{unusable: 1}
	s.gdt = table{base: e.GDT, limit: e.GDTLimit}
	s.idt = table{}
	s.cr0, s.cr3, s.cr4 = cr0Boot, e.CR3, cr4PAE
	s.efer = eferLME | eferLMA
	if err := pass(v.file, reqSetSregs, &s); err != nil {
		return fmt.Errorf("KVM_SET_SREGS: %w", err)
	}
	r := registers{rip: e.RIP, rsi: e.RSI, rsp: e.RSP, rflags: flagsFixed}
	if err := pass(v.file, reqSetRegs, &r); err != nil {
		return fmt.Errorf("KVM_SET_REGS: %w", err)
	}
	return nil
}

// memoryTypes has all of memory written back, as firmware would: KVM's
// processors come with their MTRRs off, and Linux would cache nothing.
func (v *vcpu) memoryTypes() error {
	const (
		writeBack = 0x0606_0606_0606_0606
		enabled   = 1<<11 | 6
	)
	list := []msrEntry{{index: msrMTRRDef, value: enabled}, {index: msrMTRR64K, value: writeBack}}
	for i := range uint32(2) {
		list = append(list, msrEntry{index: msrMTRR16K + i, value: writeBack})
	}
	for i := range uint32(8) {
		list = append(list, msrEntry{index: msrMTRR4K + i, value: writeBack})
	}
	return v.setMSRs(append(list, msrEntry{index: msrMiscEnable, value: 1})...) // fast strings
}

func (v *vcpu) setMSRs(list ...msrEntry) error {
	t := msrEntries{n: uint32(len(list))}
	copy(t.entries[:], list)
	n, err := passN(v.file, reqSetMSRs, &t)
	if err == nil && n < len(list) {
		err = fmt.Errorf("MSR %#x = %#x: %w", list[n].index, list[n].value, unix.EINVAL)
	}
	if err != nil {
		return fmt.Errorf("KVM_SET_MSRS: %w", err)
	}
	return nil
}

// msr reads one.
func (v *vcpu) msr(index uint32) (uint64, error) {
	t := msrEntries{n: 1}
	t.entries[0].index = index
	n, err := passN(v.file, reqGetMSRs, &t)
	if err == nil && n != 1 {
		err = fmt.Errorf("MSR %#x: %w", index, unix.EINVAL)
	}
	if err != nil {
		return 0, fmt.Errorf("KVM_GET_MSRS: %w", err)
	}
	return t.entries[0].value, nil
}
