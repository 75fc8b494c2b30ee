package acpi_test

import (
	"nvlab/acpi"
	"nvlab/acpi/aml"
)

var oem = acpi.Header{OEMID: "EXMPL", OEMTableID: "EXAMPLE", OEMRevision: 1, CreatorID: "XMPL", CreatorRevision: 1}

// dimm gives the three structures of an NVDIMM in a slot.
func dimm(slot uint16, base, size uint64) []acpi.NFITStructure {
	return []acpi.NFITStructure{
		&acpi.SPARange{
			Index: 2 * (slot + 1), Flags: acpi.SPAHotAddOnly | acpi.SPAProximityValid, Proximity: uint32(slot),
			Type: acpi.SPAPersistent, Base: base, Length: size, Attributes: acpi.MemoryWB | acpi.MemoryNV,
		},
		&acpi.MemoryDevice{
			Handle: uint32(slot) + 1, SPAIndex: 2 * (slot + 1), ControlIndex: 2*(slot+1) + 1,
			RegionSize: size, InterleaveWays: 1,
		},
		&acpi.ControlRegion{
			Index: 2*(slot+1) + 1, VendorID: 0x8086, DeviceID: 1, RevisionID: 1,
			SerialNumber: 0x123456 + uint32(slot), FormatCode: acpi.FormatByte,
		},
	}
}

// nfitAll has every type of structure.
func nfitAll() acpi.NFIT {
	list := append(dimm(0, 4<<30, 64<<20), dimm(1, 5<<30, 64<<20)...)
	list[4].(*acpi.MemoryDevice).Flags = acpi.MapNotArmed | acpi.MapHealth
	list[4].(*acpi.MemoryDevice).InterleaveIndex = 1
	list[4].(*acpi.MemoryDevice).InterleaveWays = 2
	list = append(list,
		&acpi.Interleave{Index: 1, LineSize: 4096, LineOffsets: []uint32{0, 2, 4, 6}},
		&acpi.SMBIOSInfo{Data: []byte{17, 4, 0, 1, 0, 0}},
		&acpi.ControlRegion{Index: 9, VendorID: 0x8086, FormatCode: acpi.FormatBlock, WindowCount: 1,
			ValidFields: acpi.ControlValidManufacturing, ManufacturingLocation: 2, ManufacturingDate: 0x2612,
			WindowSize: 0x1000, CommandSize: 8, StatusOffset: 8, StatusSize: 4, Flags: 1},
		&acpi.BlockWindow{ControlIndex: 9, WindowCount: 1, Offset: 0x1000, Size: 0x2000, Capacity: 0x100000, Start: 0x4000},
		&acpi.FlushHint{Handle: 1, Addresses: []uint64{0xFE000000, 0xFE000040}},
		&acpi.PlatformCapabilities{HighestValid: 1, Capabilities: acpi.CapCPUCacheFlush | acpi.CapMemoryController},
	)
	return acpi.NFIT{Header: oem, Structures: list}
}

func fadt() acpi.FADT {
	return acpi.FADT{
		Header:  oem,
		DSDT:    0xE0200,
		Profile: 4,
		Flags: acpi.FADTWBINVD | acpi.FADTProcC1 | acpi.FADTPowerButton | acpi.FADTSleepButton |
			acpi.FADTResetRegister | acpi.FADTHardwareReduced,
		BootFlags:     acpi.BootNoVGA | acpi.BootNoMSI | acpi.BootNoCMOSRTC,
		ResetRegister: acpi.GenericAddress{Space: acpi.SystemIO, BitWidth: 8, AccessSize: 1, Address: 0x604},
		ResetValue:    1,
		MinorVersion:  3,
		XDSDT:         0xE0200,
		SleepControl:  acpi.GenericAddress{Space: acpi.SystemIO, BitWidth: 8, AccessSize: 1, Address: 0x600},
		SleepStatus:   acpi.GenericAddress{Space: acpi.SystemIO, BitWidth: 8, AccessSize: 1, Address: 0x601},
	}
}

func madt() acpi.MADT {
	return acpi.MADT{Header: oem, LocalAPICAddress: 0xFEE00000, Flags: acpi.MADTPCATCompat, Entries: []acpi.MADTEntry{
		&acpi.LocalAPIC{ProcessorUID: 0, APICID: 0, Flags: acpi.APICEnabled},
		&acpi.LocalAPIC{ProcessorUID: 1, APICID: 1, Flags: acpi.APICOnlineCapable},
		&acpi.IOAPIC{ID: 2, Address: 0xFEC00000, GSIBase: 0},
		&acpi.InterruptOverride{Source: 9, GSI: 9, Flags: acpi.MPSActiveLow | acpi.MPSLevel},
		&acpi.NMISource{Flags: acpi.MPSActiveHigh | acpi.MPSEdge, GSI: 3},
		&acpi.LocalAPICNMI{ProcessorUID: 0xFF, LINT: 1},
		&acpi.LocalAPICAddress{Address: 0xFEE00000},
		&acpi.X2APIC{APICID: 300, Flags: acpi.APICEnabled, ProcessorUID: 300},
		&acpi.X2APICNMI{ProcessorUID: 0xFFFFFFFF, LINT: 1},
		&acpi.MultiprocessorWakeup{Mailbox: 0x0FFF8000},
		&acpi.MultiprocessorWakeup{Version: 1, Mailbox: 0x0FFF8000, ResetVector: 0x0FFF8900},
	}}
}

func srat() acpi.SRAT {
	return acpi.SRAT{Header: oem, Entries: []acpi.SRATEntry{
		&acpi.ProcessorAffinity{Proximity: 0x01020304, APICID: 1, Flags: acpi.AffinityEnabled},
		&acpi.MemoryAffinity{Base: 0, Length: 512 << 20, Flags: acpi.AffinityEnabled},
		&acpi.MemoryAffinity{Proximity: 1, Base: 4 << 30, Length: 64 << 20, Flags: acpi.AffinityEnabled | acpi.MemoryNonVolatile},
		&acpi.MemoryAffinity{Proximity: 1, Base: 8 << 30, Length: 1 << 30, Flags: acpi.AffinityEnabled | acpi.MemoryHotPluggable},
		&acpi.X2APICAffinity{Proximity: 1, APICID: 300, Flags: acpi.AffinityEnabled},
	}}
}

func hmat() acpi.HMAT {
	return acpi.HMAT{Header: oem, Structures: []acpi.HMATStructure{
		&acpi.ProximityAttributes{Flags: acpi.InitiatorValid, Initiator: 1, Memory: 2},
		&acpi.LocalityInfo{Data: acpi.ReadLatency, Base: 1000, Initiators: []uint32{0, 1}, Targets: []uint32{0, 1, 2}, Entries: []uint16{80, 140, 400, 140, 80, 300}},
		&acpi.LocalityInfo{Data: acpi.AccessBandwidth, Base: 1024, Initiators: []uint32{0}, Targets: []uint32{2}, Entries: []uint16{10}},
	}}
}

func mcfg() acpi.MCFG {
	return acpi.MCFG{Header: oem, Segments: []acpi.ConfigSpace{{Base: 0xE0000000, EndBus: 15}, {Base: 0xD0000000, Segment: 1, StartBus: 16, EndBus: 255}}}
}

// dsdt is a program with every construct of package aml that a machine needs.
func dsdt() []byte {
	code, err := aml.Encode(
		aml.Scope(`\_SB`,
			aml.Device("COM1",
				aml.Name("_HID", aml.EISAID("PNP0501")),
				aml.Name("_UID", aml.Zero),
				aml.Name("_CRS", aml.ResourceTemplate(
					aml.IO{Decode16: true, Min: 0x3F8, Max: 0x3F8, Align: 1, Length: 8},
					aml.IRQNoFlags{Mask: 1 << 4})),
			),
			aml.Device("PWRB", aml.Name("_HID", aml.EISAID("PNP0C0C"))),
			aml.Device("VIO0",
				aml.Name("_HID", aml.String("LNRO0005")),
				aml.Name("_UID", aml.Zero),
				aml.Name("_CCA", aml.One),
				aml.Name("_CRS", aml.ResourceTemplate(
					aml.Memory32Fixed{ReadWrite: true, Base: 0xFEB00000, Length: 0x200},
					aml.Interrupt{Consumer: true, Numbers: []uint32{16}},
				))),
			aml.Device("MEMD",
				aml.Name("_HID", aml.EISAID("PNP0A05")),
				aml.Name("_CRS", aml.ResourceTemplate(
					aml.QWordMemory(4<<30, 1<<30),
					aml.DWordSpace{AddressSpace: aml.AddressSpace{Kind: aml.IORange, Consumer: true, MinFixed: true, MaxFixed: true, TypeFlags: 3}, Min: 0x1000, Max: 0x1FFF, Length: 0x1000},
					aml.WordSpace{AddressSpace: aml.AddressSpace{Kind: aml.BusNumberRange, Consumer: true, MinFixed: true, MaxFixed: true}, Max: 0xFF, Length: 0x100},
					aml.IRQ{Edge: true, ActiveLow: true, Shared: true, Mask: 1 << 9},
					aml.FixedIO{Base: 0x218, Length: 4},
				))),
			aml.Device("GED",
				aml.Name("_HID", aml.String("ACPI0013")),
				aml.Name("_CRS", aml.ResourceTemplate(aml.Interrupt{Consumer: true, Edge: true, Numbers: []uint32{9}})),
				aml.OperationRegion("EVRG", aml.SystemMemory, aml.Int(0xFEB10000), aml.Int(4)),
				aml.Field("EVRG", aml.DWordAcc, aml.NoLock, aml.WriteAsZeros, aml.Unit("ESEL", 32)),
				aml.Method("_EVT", 1, aml.Serialized,
					aml.Store(aml.Path("ESEL"), aml.Local0),
					aml.If(aml.LEqual(aml.And(aml.Local0, aml.One, nil), aml.One),
						aml.Notify(aml.Path("PWRB"), aml.Int(0x80))),
				)),
		),
		aml.Name(`\_S5`, aml.Package{aml.Int(5), aml.Zero, aml.Zero, aml.Zero}),
	)
	if err != nil {
		panic(err)
	}
	return oem.Table("DSDT", 2, code)
}
