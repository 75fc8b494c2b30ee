package vmm

import "nvlab/acpi/aml"

// maxEvents is what the GED's event register has bits for, one each of
// Config.Events, one of the memory slots and one of tables that come later.
const maxEvents = 30

// dsdt describes the machine's devices.
// HotTables is where tables of devices that come later are, 0 if none can.
func dsdt(virtio int, events []Event, slots int, pci bool, hotTables uint64) ([]byte, error) {
	devices := []aml.Term{
		aml.Device("COM1",
			aml.Name("_HID", aml.EISAID("PNP0501")),
			aml.Name("_UID", aml.Zero),
			aml.Name("_CRS", aml.ResourceTemplate(
				aml.IO{Decode16: true, Min: portSerial, Max: portSerial, Align: 1, Length: 8},
				aml.Interrupt{Consumer: true, Edge: true, Numbers: []uint32{pinSerial}},
			)),
		),
		generalEvents(events, slots > 0, hotTables),
	}
	for i := range virtio {
		devices = append(devices, virtioNode(i))
	}
	if pci {
		devices = append(devices, pciDevices()...)
	}
	var terms []aml.Term
	for _, e := range events {
		kind := aml.DeviceObj
		if e.Method {
			kind = aml.MethodObj
		}
		terms = append(terms, aml.External(e.Path, kind, 0))
	}
	terms = append(terms, aml.Scope(`\_SB`, devices...))
	if slots > 0 {
		terms = append(terms, memorySlots(slots))
	}
	terms = append(terms,
		aml.Name(`\_S5`, aml.Package{aml.Int(sleepTypeS5), aml.Zero, aml.Zero, aml.Zero}),
	)
	return aml.Encode(terms...)
}

// generalEvents is the Generic Event Device (ACPI 6.5, 5.6.9): reading its
// register takes the events that wait.
func generalEvents(events []Event, slots bool, hotTables uint64) aml.Term {
	when := func(bit int, e Event) aml.Term {
		action := aml.Notify(aml.Path(e.Path), aml.Int(e.Value))
		if e.Method {
			action = aml.Call(e.Path)
		}
		return aml.If(aml.And(aml.Local0, aml.Int(1<<bit), nil), action)
	}
	body := []aml.Term{
		aml.Store(aml.Path("EVTS"), aml.Local0),
	}
	for i, e := range events {
		body = append(body, when(i, e))
	}
	bit := len(events)
	if slots {
		body = append(body, when(bit, Event{Path: slotsScan, Method: true}))
		bit++
	}
	var loader []aml.Term
	if hotTables != 0 {
		body = append(body, when(bit, Event{Path: "VLDS", Method: true}))
		loader = hotTableLoader(hotTables)
	}
	return aml.Device("GED", append([]aml.Term{
		aml.Name("_HID", aml.String("ACPI0013")),
		aml.Name("_UID", aml.Zero),
		aml.Name("_CRS", aml.ResourceTemplate(aml.Interrupt{Consumer: true, Numbers: []uint32{pinEvents}})),
		aml.OperationRegion("EVRG", aml.SystemIO, aml.Int(portEvents), aml.Int(4)),
		aml.Field("EVRG", aml.DWordAcc, aml.NoLock, aml.WriteAsZeros, aml.Unit("EVTS", 32)),
		aml.Method("_EVT", 1, aml.Serialized, body...),
	}, loader...)...)
}
