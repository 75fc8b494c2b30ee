package vmm

import (
	"encoding/binary"
	"fmt"
	"slices"

	"nvlab/acpi/aml"
	"nvlab/vmm/device/pmem"
	"nvlab/vmm/device/virtio"
)

// A virtio-pmem device that comes while the guest runs is told of by a table of
// its own: the event device's method loads it (ACPI 6.5, 19.6.76), and Linux looks
// through what a table brings. The tables are at the end of the memory for ACPI:
// first their number, then each in its place.
const (
	hotTableSize = 512
	hotTables    = (1 + MaxPMEM) * hotTableSize
)

// hotTablesAt is where they are.
func (l Layout) hotTablesAt() uint64 { return l.ACPI.Base + l.ACPI.Size - hotTables }

// addPMEM adds a virtio-pmem device.
func (m *Machine) addPMEM(at Range) *virtio.Device {
	d := &m.devices
	i := len(d.pmem)
	dev := pmem.New(at.Base, at.Size, func() bool { return m.flushPMEM(i) }, dma{m}, m.line(virtioPin(virtioDevices+i)))
	d.pmem = append(d.pmem, dev)
	m.pmem = append(m.pmem, at)
	return dev
}

// PlugPMEM gives a machine that runs a virtio-pmem device, between Runs; its
// owner has added the memory. The machine was assembled with PlugPMEM.
func (m *Machine) PlugPMEM(at Range) error {
	i := len(m.pmem)
	switch {
	case !m.plugPMEM:
		return fmt.Errorf("virtio-pmem at %v: the machine was made without a way to plug one", at)
	case m.State() != Running:
		return fmt.Errorf("virtio-pmem at %v: the machine does not run", at)
	case i >= MaxPMEM:
		return fmt.Errorf("virtio-pmem at %v: the machine has %d of at most %d", at, i, MaxPMEM)
	}
	code, err := aml.Encode(aml.Scope(`\_SB`, virtioNode(virtioDevices+i)))
	if err != nil {
		return err
	}
	table := oem.Table("SSDT", 2, code)
	if len(table) > hotTableSize {
		return fmt.Errorf("the table of a virtio device has %d bytes, and %d fit", len(table), hotTableSize)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	page := int64(m.layout.hotTablesAt())
	var count [4]byte
	if _, err := m.ram.ReadAt(count[:], page); err != nil {
		return err
	}
	n := binary.LittleEndian.Uint32(count[:])
	if n >= MaxPMEM {
		return fmt.Errorf("the guest changed the number of tables to %d", n)
	}
	if _, err := m.ram.WriteAt(table, page+int64(1+n)*hotTableSize); err != nil {
		return err
	}
	binary.LittleEndian.PutUint32(count[:], n+1)
	if _, err := m.ram.WriteAt(count[:], page); err != nil {
		return err
	}
	m.ownMMIO(virtioBase+uint64(virtioDevices+i)*virtioStep, virtioStep, m.addPMEM(at))
	m.devices.ged.Raise(m.pmemEvent())
	return nil
}

// pmemEvent is the GED's event that says that there is a table to load: behind
// all others.
func (m *Machine) pmemEvent() int {
	if m.slots() > 0 {
		return m.slotsEvent() + 1
	}
	return len(m.events)
}

// PMEM is where the virtio-pmem devices have their memory.
func (m *Machine) PMEM() []Range { return slices.Clone(m.pmem) }

// hotTableLoader is what the event device needs for it: VLDS loads the tables that
// were not loaded before.
func hotTableLoader(at uint64) []aml.Term {
	table := aml.Add(aml.Int(at+hotTableSize), aml.ShiftLeft(aml.Arg0, aml.Int(9), nil), nil)
	return []aml.Term{
		aml.OperationRegion("VREG", aml.SystemMemory, aml.Int(at), aml.Int(4)),
		aml.Field("VREG", aml.DWordAcc, aml.NoLock, aml.Preserve, aml.Unit("VCNT", 32)),
		aml.Name("VNXT", aml.Zero),
		aml.Method("VLD1", 1, aml.Serialized,
			aml.OperationRegion("VTBL", aml.SystemMemory, table, aml.Int(hotTableSize)),
			aml.Load("VTBL", aml.Local0),
		),
		aml.Method("VLDS", 0, aml.Serialized,
			aml.While(aml.LLess(aml.Path("VNXT"), aml.Path("VCNT")),
				aml.Call("VLD1", aml.Path("VNXT")),
				aml.Increment(aml.Path("VNXT")),
			),
		),
	}
}

// virtioNode is the ACPI device of a virtio-mmio device.
func virtioNode(i int) aml.Term {
	return aml.Device(fmt.Sprintf("VIO%X", i),
		aml.Name("_HID", aml.String("LNRO0005")),
		aml.Name("_UID", aml.Int(i)),
		aml.Name("_CRS", aml.ResourceTemplate(
			aml.Memory32Fixed{ReadWrite: true, Base: uint32(virtioBase + i*virtioStep), Length: virtioStep},
			aml.Interrupt{Consumer: true, Numbers: []uint32{uint32(virtioPin(i))}},
		)),
	)
}
