package vmm

import (
	"fmt"

	"nvlab/acpi/aml"
	"nvlab/vmm/device/memhp"
)

const (
	slotsPath = `\_SB.MEMC`
	slotsScan = `\_SB.MEMC.MSCN`
)

// Notifications of a memory device (ACPI 6.5, 5.6.6, table 5.170).
const (
	notifyDeviceCheck  = 1
	notifyEjectRequest = 3
)

// memorySlots is the controller, and a memory device (ACPI 6.5, 9.11) for each
// slot, plugged or not. The methods of all select their slot before they read
// of it, under one mutex.
func memorySlots(n int) aml.Term {
	register := func(name string) aml.Term { return aml.Path(name) }
	selected := func(body ...aml.Term) []aml.Term {
		list := []aml.Term{aml.Acquire(aml.Path("MLCK"), 0xffff), aml.Store(aml.Arg0, register("MSEL"))}
		return append(append(list, body...), aml.Release(aml.Path("MLCK")))
	}
	body := []aml.Term{
		aml.Name("_HID", aml.EISAID("PNP0A06")),
		aml.Name("_UID", aml.String("memory slots")),
		aml.OperationRegion("MREG", aml.SystemIO, aml.Int(memhp.Base), aml.Int(memhp.Ports)),
		aml.Field("MREG", aml.DWordAcc, aml.NoLock, aml.Preserve,
			aml.Unit("MADL", 32), aml.Unit("MADH", 32), aml.Unit("MSZL", 32), aml.Unit("MSZH", 32), aml.Unit("MPXD", 32)),
		aml.Field("MREG", aml.DWordAcc, aml.NoLock, aml.Preserve, aml.Unit("MSEL", 32), aml.Unit("MOEV", 32), aml.Unit("MOSC", 32)),
		aml.Field("MREG", aml.ByteAcc, aml.NoLock, aml.WriteAsZeros, aml.Skip(20*8),
			aml.Unit("MENA", 1), aml.Unit("MINS", 1), aml.Unit("MRMV", 1), aml.Unit("MEJT", 1)),
		aml.Mutex("MLCK", 0),
		aml.Method("MSTA", 1, aml.Serialized, append(selected(
			aml.Store(aml.Zero, aml.Local0),
			aml.If(register("MENA"), aml.Store(aml.Int(0xf), aml.Local0)),
		), aml.Return(aml.Local0))...),
		aml.Method("MPXM", 1, aml.Serialized, append(selected(
			aml.Store(register("MPXD"), aml.Local0),
		), aml.Return(aml.Local0))...),
		aml.Method("MOST", 3, aml.Serialized, selected(
			aml.Store(aml.Arg1, register("MOEV")),
			aml.Store(aml.Arg2, register("MOSC")),
		)...),
		aml.Method("MEJ0", 1, aml.Serialized, selected(aml.Store(aml.One, register("MEJT")))...),
		slotResources(selected),
		slotScan(n),
	}
	notify := aml.Method("MTFY", 2, aml.NotSerialized, notifications(n)...)
	body = append(body, notify)
	for i := range n {
		slot := aml.Int(i)
		body = append(body, aml.Device(slotName(i),
			aml.Name("_HID", aml.EISAID("PNP0C80")),
			aml.Name("_UID", slot),
			aml.Method("_STA", 0, aml.NotSerialized, aml.Return(aml.Call("MSTA", slot))),
			aml.Method("_CRS", 0, aml.NotSerialized, aml.Return(aml.Call("MCRS", slot))),
			aml.Method("_PXM", 0, aml.NotSerialized, aml.Return(aml.Call("MPXM", slot))),
			aml.Method("_OST", 3, aml.NotSerialized, aml.Call("MOST", slot, aml.Arg0, aml.Arg1)),
			aml.Method("_EJ0", 1, aml.NotSerialized, aml.Call("MEJ0", slot)),
		))
	}
	return aml.Device(slotsPath, body...)
}

func slotName(i int) string { return fmt.Sprintf("MP%02X", i) }

// Offsets of fields of a QWordMemory descriptor (ACPI 6.5, 6.4.3.5.1).
const (
	descriptorMin    = 14
	descriptorMax    = 22
	descriptorLength = 38
)

// slotResources is MCRS (slot): where its memory is.
func slotResources(selected func(...aml.Term) []aml.Term) aml.Term {
	word := func(high, low string) aml.Term {
		return aml.Or(aml.ShiftLeft(aml.Path(high), aml.Int(32), nil), aml.Path(low), nil)
	}
	body := []aml.Term{
		aml.Name("MBUF", aml.ResourceTemplate(aml.QWordMemory(0, 1))),
		aml.CreateQWordField(aml.Path("MBUF"), aml.Int(descriptorMin), "MIN"),
		aml.CreateQWordField(aml.Path("MBUF"), aml.Int(descriptorMax), "MAX"),
		aml.CreateQWordField(aml.Path("MBUF"), aml.Int(descriptorLength), "LEN"),
	}
	body = append(body, selected(
		aml.Store(word("MADH", "MADL"), aml.Path("MIN")),
		aml.Store(word("MSZH", "MSZL"), aml.Path("LEN")),
	)...)
	return aml.Method("MCRS", 1, aml.Serialized, append(body,
		aml.Add(aml.Path("MIN"), aml.Subtract(aml.Path("LEN"), aml.One, nil), aml.Path("MAX")),
		aml.Return(aml.Path("MBUF")))...)
}

// slotScan is MSCN: it looks at every slot and tells of what happened there.
func slotScan(n int) aml.Term {
	slot, what := aml.Local0, aml.Local1
	return aml.Method("MSCN", 0, aml.Serialized,
		aml.Store(aml.Zero, slot),
		aml.While(aml.LLess(slot, aml.Int(n)),
			aml.Store(aml.Zero, what),
			aml.Acquire(aml.Path("MLCK"), 0xffff),
			aml.Store(slot, aml.Path("MSEL")),
			aml.If(aml.Path("MINS"),
				aml.Store(aml.One, aml.Path("MINS")),
				aml.Store(aml.Int(notifyDeviceCheck), what),
			).ElseIf(aml.Path("MRMV"),
				aml.Store(aml.One, aml.Path("MRMV")),
				aml.Store(aml.Int(notifyEjectRequest), what),
			),
			aml.Release(aml.Path("MLCK")),
			aml.If(what, aml.Call("MTFY", slot, what)),
			aml.Increment(slot),
		),
	)
}

// notifications is the body of MTFY (slot, notification).
func notifications(n int) (list []aml.Term) {
	for i := range n {
		list = append(list, aml.If(aml.LEqual(aml.Arg0, aml.Int(i)), aml.Notify(aml.Path(slotName(i)), aml.Arg1)))
	}
	return list
}
