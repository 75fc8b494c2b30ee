package acpi

import (
	"fmt"

	"nvlab/acpi/guid"
)

// NFIT is the NVDIMM firmware interface table, revision 1 (section 5.2.25).
// Four reserved bytes follow the header.
type NFIT struct {
	Header
	Structures []NFITStructure // offset 40
}

// NFITStructure is a structure of the NFIT: *SPARange, *MemoryDevice,
// *Interleave, *SMBIOSInfo, *ControlRegion, *BlockWindow, *FlushHint,
// *PlatformCapabilities or *UnknownEntry.
type NFITStructure interface {
	entry
	nfit()
}

// Encode gives the finished table.
func (t NFIT) Encode() []byte { return encodeTable(t.Header, "NFIT", 1, (*nfitBody)(&t)) }

// ParseNFIT decodes a NFIT. With an error, the structures that could be read
// are there.
func ParseNFIT(b []byte) (NFIT, error) {
	var t NFIT
	err := parseTable(b, "NFIT", &t.Header, (*nfitBody)(&t))
	return t, err
}

// EncodeNFITStructures gives the structures alone, as _FIT returns them
// (section 6.5.9).
func EncodeNFITStructures(list ...NFITStructure) []byte {
	c := codec{encoding: true}
	visitEntries(&c, nfitKinds, &list)
	return c.buf
}

// ParseNFITStructures is the inverse of EncodeNFITStructures.
func ParseNFITStructures(b []byte) ([]NFITStructure, error) {
	var list []NFITStructure
	c := codec{buf: b}
	visitEntries(&c, nfitKinds, &list)
	return list, c.err
}

type nfitBody NFIT

func (t *nfitBody) visit(c *codec) {
	c.reserved(4)
	visitEntries(c, nfitKinds, &t.Structures)
}

var nfitKinds = entryKinds{width: 2, make: func(kind uint16) (entry, string) {
	switch kind {
	case 0:
		return &SPARange{}, "System Physical Address Range"
	case 1:
		return &MemoryDevice{}, "NVDIMM Region Mapping"
	case 2:
		return &Interleave{}, "Interleave"
	case 3:
		return &SMBIOSInfo{}, "SMBIOS Management Information"
	case 4:
		return &ControlRegion{}, "NVDIMM Control Region"
	case 5:
		return &BlockWindow{}, "NVDIMM Block Data Window Region"
	case 6:
		return &FlushHint{}, "Flush Hint Address"
	case 7:
		return &PlatformCapabilities{}, "Platform Capabilities"
	}
	return unknownEntry(kind)
}}

// Types of address ranges (table 5.113).
var (
	SPAVolatile       = guid.MustParse("7305944f-fdda-44e3-b16c-3f22d252e5d0")
	SPAPersistent     = guid.MustParse("66f0d379-b4f3-4074-ac43-0d3318b78cdb")
	SPAControlRegion  = guid.MustParse("92f701f6-13b4-405d-910b-299367e8234c")
	SPABlockWindow    = guid.MustParse("91af0530-5d86-470e-a6b0-0a2db9408249")
	SPAVolatileDisk   = guid.MustParse("77ab535a-45fc-624b-5560-f7b281d1f96e")
	SPAVolatileCD     = guid.MustParse("3d5abd30-4175-87ce-6d64-d2ade523c4bb")
	SPAPersistentDisk = guid.MustParse("5cea02c9-4d07-69d3-269f-4496fbe096f9")
	SPAPersistentCD   = guid.MustParse("08018188-42cd-bb48-100f-5387d53ded3d")
)

func spaTypeName(g guid.GUID) string {
	switch g {
	case SPAVolatile:
		return "Volatile Memory"
	case SPAPersistent:
		return "Byte Addressable Persistent Memory"
	case SPAControlRegion:
		return "NVDIMM Control Region"
	case SPABlockWindow:
		return "NVDIMM Block Data Window Region"
	case SPAVolatileDisk:
		return "Volatile Virtual Disk"
	case SPAVolatileCD:
		return "Volatile Virtual CD"
	case SPAPersistentDisk:
		return "Persistent Virtual Disk"
	case SPAPersistentCD:
		return "Persistent Virtual CD"
	}
	return ""
}

// Flags of SPARange (table 5.112, offset 6).
const (
	SPAHotAddOnly     = 1 << 0 // the control region is for hot add and online only
	SPAProximityValid = 1 << 1
	SPACookieValid    = 1 << 2 // ACPI 6.4
)

// Attributes of memory in SPARange (UEFI 2.10 section 7.2, EFI_MEMORY_...).
const (
	MemoryUC        = 1 << 0
	MemoryWC        = 1 << 1
	MemoryWT        = 1 << 2
	MemoryWB        = 1 << 3
	MemoryUCE       = 1 << 4
	MemoryWP        = 1 << 12
	MemoryRP        = 1 << 13
	MemoryXP        = 1 << 14
	MemoryNV        = 1 << 15
	MemoryMoreRel   = 1 << 16 // more reliable
	MemoryRO        = 1 << 17
	MemorySpecific  = 1 << 18
	MemoryCPUCrypto = 1 << 19
)

var memoryAttributes = flagNames("UC", "WC", "WT", "WB", "UCE", "", "", "", "", "", "", "",
	"WP", "RP", "XP", "NV", "MORE_RELIABLE", "RO", "SP", "CPU_CRYPTO")

// SPARange is a range of system physical addresses, type 0, 56 or 64 bytes
// (section 5.2.25.2, table 5.112).
type SPARange struct {
	Index      uint16    // offset 4; not 0
	Flags      uint16    // offset 6, SPA...
	Proximity  uint32    // offset 12
	Type       guid.GUID // offset 16
	Base       uint64    // offset 32
	Length     uint64    // offset 40
	Attributes uint64    // offset 48, Memory...
	Long       bool      // the 64-byte form of ACPI 6.4, with Cookie
	Cookie     uint64    // offset 56, location cookie
}

func (*SPARange) kind() uint16 { return 0 }
func (*SPARange) nfit()        {}
func (e *SPARange) visit(c *codec) {
	num(c, "SPA Range Index", &e.Index)
	num(c, "Flags", &e.Flags, flagNames("Add/Online Operation Only", "Proximity Domain Valid", "Location Cookie Valid"))
	c.reserved(4)
	num(c, "Proximity Domain", &e.Proximity)
	c.guid("Address Range Type", &e.Type, spaTypeName)
	num(c, "Base", &e.Base)
	num(c, "Length", &e.Length, decimal)
	num(c, "Memory Attributes", &e.Attributes, memoryAttributes)
	if !c.encoding {
		e.Long = !c.done()
	}
	if e.Long {
		num(c, "Location Cookie", &e.Cookie)
	}
}

// Flags of MemoryDevice: the state of the NVDIMM (table 5.115, offset 44).
const (
	MapSaveFailed    = 1 << 0 // the last save to the non-volatile medium failed
	MapRestoreFailed = 1 << 1
	MapFlushFailed   = 1 << 2 // the platform's flush failed, data may be lost
	MapNotArmed      = 1 << 3 // the NVDIMM cannot accept persistent writes
	MapHealth        = 1 << 4 // SMART health events were observed
	MapNotify        = 1 << 5 // health events are notified to the system
	MapFailed        = 1 << 6 // the firmware did not map the region
)

// MemoryDevice maps a part of an NVDIMM to an address range: the NVDIMM region
// mapping structure, type 1, 48 bytes (section 5.2.25.3, table 5.115).
type MemoryDevice struct {
	Handle          uint32 // offset 4: DIMM 3:0, channel 7:4, controller 11:8, socket 15:12, node 27:16
	PhysicalID      uint16 // offset 8, SMBIOS type 17 handle
	RegionID        uint16 // offset 10
	SPAIndex        uint16 // offset 12; 0 if not mapped
	ControlIndex    uint16 // offset 14, ControlRegion.Index
	RegionSize      uint64 // offset 16
	RegionOffset    uint64 // offset 24, of the region within the interleave set
	DPABase         uint64 // offset 32, device physical address
	InterleaveIndex uint16 // offset 40; 0 if not interleaved
	InterleaveWays  uint16 // offset 42
	Flags           uint16 // offset 44, Map...
}

func (*MemoryDevice) kind() uint16 { return 1 }
func (*MemoryDevice) nfit()        {}
func (e *MemoryDevice) visit(c *codec) {
	num(c, "Device Handle", &e.Handle, handleName)
	num(c, "Physical ID", &e.PhysicalID)
	num(c, "Region ID", &e.RegionID)
	num(c, "SPA Range Index", &e.SPAIndex)
	num(c, "Control Region Index", &e.ControlIndex)
	num(c, "Region Size", &e.RegionSize, decimal)
	num(c, "Region Offset", &e.RegionOffset)
	num(c, "Physical Address Region Base", &e.DPABase)
	num(c, "Interleave Index", &e.InterleaveIndex)
	num(c, "Interleave Ways", &e.InterleaveWays)
	num(c, "State Flags", &e.Flags, flagNames("Save Failed", "Restore Failed", "Flush Failed", "Not Armed",
		"Health Observed", "Health Notify", "Map Failed"))
	c.reserved(2)
}

func handleName(v uint64) string {
	return fmt.Sprintf("node %d socket %d controller %d channel %d DIMM %d", v>>16&0xFFF, v>>12&0xF, v>>8&0xF, v>>4&0xF, v&0xF)
}

// Interleave is the interleave of a region, type 2, 16 + 4m bytes
// (section 5.2.25.4, table 5.116).
type Interleave struct {
	Index       uint16   // offset 4; not 0
	LineSize    uint32   // offset 12, bytes
	LineOffsets []uint32 // offset 16, in lines; their number is at offset 8
}

func (*Interleave) kind() uint16 { return 2 }
func (*Interleave) nfit()        {}
func (e *Interleave) visit(c *codec) {
	lines := uint32(len(e.LineOffsets))
	num(c, "Interleave Index", &e.Index)
	c.reserved(2)
	num(c, "Line Count", &lines, decimal)
	num(c, "Line Size", &e.LineSize, decimal)
	array(c, "Line Offset", &e.LineOffsets, int(lines))
}

// SMBIOSInfo carries SMBIOS structures, type 3 (section 5.2.25.5, table 5.117).
type SMBIOSInfo struct {
	Data []byte // offset 8
}

func (*SMBIOSInfo) kind() uint16 { return 3 }
func (*SMBIOSInfo) nfit()        {}
func (e *SMBIOSInfo) visit(c *codec) {
	c.reserved(4)
	c.rest("SMBIOS Data", &e.Data)
}

// Region format interface codes of ControlRegion.FormatCode (JEDEC standard 21-C
// Annex L).
const (
	FormatByteEnergyBacked = 0x0101 // byte addressable, energy backed
	FormatBlock            = 0x0201 // block addressable, not energy backed
	FormatByte             = 0x0301 // byte addressable, not energy backed
)

var formatNames = valueNames(map[uint64]string{
	FormatByteEnergyBacked: "byte addressable, energy backed",
	FormatBlock:            "block addressable, not energy backed",
	FormatByte:             "byte addressable, not energy backed",
})

// ControlValidManufacturing says that the manufacturing fields of a
// ControlRegion are valid (table 5.118, offset 18 bit 0).
const ControlValidManufacturing = 1 << 0

// ControlRegion describes the control of NVDIMMs of one kind, type 4, 80 bytes,
// or 32 bytes if it has no block control windows (section 5.2.25.6,
// table 5.118).
type ControlRegion struct {
	Index                 uint16 // offset 4; not 0
	VendorID              uint16 // offset 6
	DeviceID              uint16 // offset 8
	RevisionID            uint16 // offset 10
	SubsystemVendorID     uint16 // offset 12
	SubsystemDeviceID     uint16 // offset 14
	SubsystemRevisionID   uint16 // offset 16
	ValidFields           uint8  // offset 18
	ManufacturingLocation uint8  // offset 19
	ManufacturingDate     uint16 // offset 20, BCD: week in the low byte, year in the high one
	SerialNumber          uint32 // offset 24
	FormatCode            uint16 // offset 28
	WindowCount           uint16 // offset 30, number of block control windows
	Short                 bool   // the 32-byte form, which ends here
	WindowSize            uint64 // offset 32
	CommandOffset         uint64 // offset 40, of the command register
	CommandSize           uint64 // offset 48
	StatusOffset          uint64 // offset 56
	StatusSize            uint64 // offset 64
	Flags                 uint16 // offset 72; bit 0: block data windows are buffered
}

func (*ControlRegion) kind() uint16 { return 4 }
func (*ControlRegion) nfit()        {}
func (e *ControlRegion) visit(c *codec) {
	num(c, "Control Region Index", &e.Index)
	num(c, "Vendor ID", &e.VendorID)
	num(c, "Device ID", &e.DeviceID)
	num(c, "Revision ID", &e.RevisionID)
	num(c, "Subsystem Vendor ID", &e.SubsystemVendorID)
	num(c, "Subsystem Device ID", &e.SubsystemDeviceID)
	num(c, "Subsystem Revision ID", &e.SubsystemRevisionID)
	num(c, "Valid Fields", &e.ValidFields, flagNames("Manufacturing"))
	num(c, "Manufacturing Location", &e.ManufacturingLocation)
	num(c, "Manufacturing Date", &e.ManufacturingDate)
	c.reserved(2)
	num(c, "Serial Number", &e.SerialNumber)
	num(c, "Format Interface Code", &e.FormatCode, formatNames)
	num(c, "Window Count", &e.WindowCount)
	if !c.encoding {
		e.Short = c.done() && e.WindowCount == 0
	}
	if e.Short {
		return
	}
	num(c, "Window Size", &e.WindowSize)
	num(c, "Command Register Offset", &e.CommandOffset)
	num(c, "Command Register Size", &e.CommandSize)
	num(c, "Status Register Offset", &e.StatusOffset)
	num(c, "Status Register Size", &e.StatusSize)
	num(c, "Flags", &e.Flags, flagNames("Buffered"))
	c.reserved(6)
}

// BlockWindow describes block data windows, type 5, 40 bytes
// (section 5.2.25.7, table 5.119).
type BlockWindow struct {
	ControlIndex uint16 // offset 4, ControlRegion.Index
	WindowCount  uint16 // offset 6
	Offset       uint64 // offset 8, of the first window within the region
	Size         uint64 // offset 16, of one window
	Capacity     uint64 // offset 24, accessible through the windows
	Start        uint64 // offset 32, address of the first accessible block
}

func (*BlockWindow) kind() uint16 { return 5 }
func (*BlockWindow) nfit()        {}
func (e *BlockWindow) visit(c *codec) {
	num(c, "Control Region Index", &e.ControlIndex)
	num(c, "Window Count", &e.WindowCount)
	num(c, "Window Start Offset", &e.Offset)
	num(c, "Window Size", &e.Size)
	num(c, "Accessible Capacity", &e.Capacity)
	num(c, "Accessible Start", &e.Start)
}

// FlushHint gives the addresses of which a write drains the queues before an
// NVDIMM, type 6, 16 + 8m bytes (section 5.2.25.8, table 5.120).
type FlushHint struct {
	Handle    uint32   // offset 4, MemoryDevice.Handle
	Addresses []uint64 // offset 16; their number is at offset 8
}

func (*FlushHint) kind() uint16 { return 6 }
func (*FlushHint) nfit()        {}
func (e *FlushHint) visit(c *codec) {
	count := uint16(len(e.Addresses))
	num(c, "Device Handle", &e.Handle, handleName)
	num(c, "Hint Count", &count, decimal)
	c.reserved(6)
	array(c, "Hint Address", &e.Addresses, int(count))
}

// Capabilities of the platform (table 5.121, offset 8). CPU cache flush
// implies memory controller flush.
const (
	CapCPUCacheFlush    = 1 << 0 // caches are flushed to the NVDIMM on power loss
	CapMemoryController = 1 << 1 // memory controllers are flushed on power loss
	CapMirroring        = 1 << 2 // byte addressable mirroring
)

// PlatformCapabilities is type 7, 16 bytes (section 5.2.25.9, table 5.121).
type PlatformCapabilities struct {
	HighestValid uint8  // offset 4, number of the highest valid bit of Capabilities
	Capabilities uint32 // offset 8, Cap...
}

func (*PlatformCapabilities) kind() uint16 { return 7 }
func (*PlatformCapabilities) nfit()        {}
func (e *PlatformCapabilities) visit(c *codec) {
	num(c, "Highest Valid Capability", &e.HighestValid)
	c.reserved(3)
	num(c, "Capabilities", &e.Capabilities, flagNames("CPU Cache Flush to NVDIMM Durability",
		"Memory Controller Flush to NVDIMM Durability", "Byte Addressable NVDIMM Hardware Mirroring"))
	c.reserved(4)
}
