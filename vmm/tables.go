package vmm

import (
	"encoding/binary"
	"fmt"
)

var le = binary.LittleEndian

// describe makes the tables that the XSDT lists, and the DSDT, which is last.
func (m *Machine) describe(cfg Config) ([][]byte, error) {
	code, err := dsdt(virtioDevices, cfg.Events)
	if err != nil {
		return nil, fmt.Errorf("DSDT: %w", err)
	}
	d := table("DSDT", 2, code)
	list := [][]byte{fadt(), madt(max(cfg.CPUs, 1))}
	list = append(list, cfg.Tables...)
	return append(list, d), nil
}

func table(sig string, rev byte, body []byte) []byte {
	b := make([]byte, 36+len(body))
	copy(b, sig)
	le.PutUint32(b[4:], uint32(len(b)))
	b[8] = rev
	copy(b[10:], "NVLAB ")
	copy(b[16:], "NVLAB   ")
	le.PutUint32(b[24:], 1)
	copy(b[28:], "NVLB")
	le.PutUint32(b[32:], 1)
	copy(b[36:], body)
	b[9] = 0
	b[9] = -sum(b)
	return b
}

func sum(b []byte) (s byte) {
	for _, v := range b {
		s += v
	}
	return s
}

func fadt() []byte {
	b := make([]byte, 276-36)
	at := func(off int) []byte { return b[off-36:] }
	gas := func(off int, port uint64) {
		g := at(off)
		g[0], g[1], g[3] = 1, 8, 1
		le.PutUint64(g[4:], port)
	}
	le.PutUint16(at(109), 1<<2|1<<3|1<<4|1<<5)
	le.PutUint32(at(112), 1<<0|1<<2|1<<4|1<<5|1<<10|1<<12|1<<20)
	gas(116, portReset)
	at(128)[0] = resetValue
	at(131)[0] = 5
	gas(244, portSleepControl)
	gas(256, portSleepStatus)
	return table("FACP", 6, b)
}

func madt(cpus int) []byte {
	b := le.AppendUint32(nil, lapicBase)
	b = le.AppendUint32(b, 0)
	for i := range cpus {
		b = append(b, 0, 8, byte(i), byte(i), 1, 0, 0, 0)
	}
	b = append(b, 1, 12, byte(cpus), 0)
	b = le.AppendUint32(b, ioapicBase)
	b = le.AppendUint32(b, 0)
	return table("APIC", 5, b)
}

// placeTables writes the tables and returns the RSDP's address.
func (m *Machine) placeTables(list [][]byte) (uint64, error) {
	at := m.layout.ACPI.Base + 64
	put := func(b []byte) (uint64, error) {
		if uint64(len(b)) > m.layout.ACPI.End()-at {
			return 0, fmt.Errorf("the ACPI tables do not fit in %d bytes", acpiSize)
		}
		addr := at
		copy(m.ram.slice(addr, uint64(len(b))), b)
		at = (at + uint64(len(b)) + 63) &^ 63
		return addr, nil
	}
	last := len(list) - 1
	dsdt, err := put(list[last])
	if err != nil {
		return 0, err
	}
	f := list[0]
	le.PutUint32(f[40:], uint32(dsdt))
	le.PutUint64(f[140:], dsdt)
	f[9] = 0
	f[9] = -sum(f)
	var pointers []byte
	for _, t := range list[:last] {
		addr, err := put(t)
		if err != nil {
			return 0, err
		}
		pointers = le.AppendUint64(pointers, addr)
	}
	x := table("XSDT", 1, pointers)
	xsdt, err := put(x)
	if err != nil {
		return 0, err
	}
	r := make([]byte, 36)
	copy(r, "RSD PTR NVLAB ")
	r[15] = 2
	le.PutUint32(r[20:], 36)
	le.PutUint64(r[24:], xsdt)
	r[8] = -sum(r[:20])
	r[32] = -sum(r)
	copy(m.ram.slice(m.layout.ACPI.Base, 36), r)
	m.tables = append(list, x)
	return m.layout.ACPI.Base, nil
}
