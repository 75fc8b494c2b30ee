package acpi

import (
	"bytes"
	"cmp"
	"fmt"
	"math/bits"
	"slices"
)

// Check finds what is wrong with a table that is otherwise readable: stated
// length, checksum, revision, malformed contents, and the rules of the NFIT,
// MADT and SRAT. It is nil for a table that keeps them all.
func Check(table []byte) []error {
	var errs report
	if bytes.HasPrefix(table, []byte(rsdpSignature)) {
		errs.rsdp(table)
		return errs
	}
	whole, err := cut(table)
	if err != nil {
		return []error{err}
	}
	signature := printable(string(whole[:4]))
	if len(whole) != len(table) {
		errs.add("%s: %d bytes follow the stated length of %d", signature, len(table)-len(whole), len(whole))
	}
	kind := tableKinds[string(whole[:4])]
	if kind.bare {
		return errs
	}
	if s := Sum(whole); s != 0 {
		errs.add("%s: checksum is 0x%02X, it should be 0x%02X", signature, whole[9], whole[9]-s)
	}
	if kind.revision != 0 && (whole[8] == 0 || whole[8] > kind.revision) {
		errs.add("%s: revision %d is not known: valid are 1 to %d", signature, whole[8], kind.revision)
	}
	if _, err := Decode(whole); err != nil {
		errs = append(errs, err)
	}
	switch signature {
	case "NFIT":
		t, _ := ParseNFIT(whole)
		errs.nfit(t.Structures)
	case "SRAT":
		t, _ := ParseSRAT(whole)
		errs.srat(t.Entries)
	case "FACP":
		t, _ := ParseFADT(whole)
		if t.DSDT == 0 && t.XDSDT == 0 {
			errs.add("FACP: no address of a DSDT")
		}
	}
	return errs
}

type report []error

func (r *report) add(format string, args ...any) { *r = append(*r, fmt.Errorf(format, args...)) }

func (r *report) rsdp(b []byte) {
	n, err := tableSize(b)
	if err != nil {
		*r = append(*r, err)
		return
	}
	if Sum(b[:20]) != 0 {
		r.add("RSDP: checksum is wrong")
	}
	if n > 20 && Sum(b[:n]) != 0 {
		r.add("RSDP: extended checksum is wrong")
	}
	p, err := ParseRSDP(b[:n])
	if err != nil {
		*r = append(*r, err)
	} else if p.RSDTAddress == 0 && p.XSDTAddress == 0 {
		r.add("RSDP: neither an RSDT nor an XSDT address")
	}
}

// nfit checks indexes and the references between structures
// (section 5.2.25).
func (r *report) nfit(list []NFITStructure) {
	var (
		ranges      []*SPARange
		spas        = map[uint16]*SPARange{}
		controls    = map[uint16]*ControlRegion{}
		interleaves = map[uint16]*Interleave{}
		handles     = map[uint32]bool{}
		caps        int
	)
	for _, s := range list {
		switch s := s.(type) {
		case *SPARange:
			r.spa(s)
			unique(r, "SPA range", spas, s.Index, s)
			ranges = append(ranges, s)
		case *ControlRegion:
			unique(r, "control region", controls, s.Index, s)
			if s.Short && s.WindowCount != 0 {
				r.add("NFIT: control region %d has %d windows, but is the 32-byte form", s.Index, s.WindowCount)
			}
		case *Interleave:
			unique(r, "interleave", interleaves, s.Index, s)
			if len(s.LineOffsets) == 0 || s.LineSize == 0 {
				r.add("NFIT: interleave %d has %d lines of %d bytes: neither may be 0", s.Index, len(s.LineOffsets), s.LineSize)
			}
		case *MemoryDevice:
			handles[s.Handle] = true
		case *PlatformCapabilities:
			if caps++; caps > 1 {
				r.add("NFIT: there is more than one platform capabilities structure")
			}
			r.capabilities(s)
		case *UnknownEntry:
			r.add("NFIT: structure of unknown type %d", s.Type)
		}
	}
	r.overlaps(ranges)
	for _, s := range list {
		switch s := s.(type) {
		case *MemoryDevice:
			r.mapping(s, spas, controls, interleaves)
		case *BlockWindow:
			if controls[s.ControlIndex] == nil {
				r.add("NFIT: block window refers to control region %d, which does not exist", s.ControlIndex)
			}
		case *FlushHint:
			if !handles[s.Handle] {
				r.add("NFIT: flush hints for device handle 0x%X, which no region mapping has", s.Handle)
			}
			if len(s.Addresses) == 0 {
				r.add("NFIT: flush hint structure of handle 0x%X has no address", s.Handle)
			}
		}
	}
}

// unique notes a structure under its index.
func unique[S any](r *report, what string, seen map[uint16]*S, index uint16, s *S) {
	switch {
	case index == 0:
		r.add("NFIT: %s has index 0, which is reserved", what)
	case seen[index] != nil:
		r.add("NFIT: two structures for %s %d", what, index)
	default:
		seen[index] = s
	}
}

func (r *report) spa(s *SPARange) {
	if s.Length == 0 {
		r.add("NFIT: SPA range %d has length 0", s.Index)
	} else if s.Base+s.Length-1 < s.Base {
		r.add("NFIT: SPA range %d goes beyond the end of the address space: base 0x%X, length 0x%X", s.Index, s.Base, s.Length)
	}
	if spaTypeName(s.Type) == "" {
		r.add("NFIT: SPA range %d has unknown type %s", s.Index, s.Type)
	}
	if s.Flags&SPACookieValid != 0 && !s.Long {
		r.add("NFIT: SPA range %d says its location cookie is valid, but is the 56-byte form", s.Index)
	}
}

// overlaps compares ranges. Virtual disks and CDs lie within memory, so they
// are compared with each other only.
func (r *report) overlaps(ranges []*SPARange) {
	var memory, disks []span
	for _, s := range ranges {
		list := &memory
		if isDisk(s) {
			list = &disks
		}
		*list = append(*list, span{s.Base, s.Length, fmt.Sprintf("SPA range %d", s.Index)})
	}
	r.disjoint("NFIT", memory)
	r.disjoint("NFIT", disks)
}

// span is a range of addresses.
type span struct {
	base, length uint64
	name         string
}

func (s span) last() uint64 { return s.base + s.length - 1 }

// disjoint reports every range that begins within one that begins before it.
// Ranges that are empty or wrap have been reported otherwise.
func (r *report) disjoint(table string, list []span) {
	list = slices.DeleteFunc(list, func(s span) bool { return s.length == 0 || s.last() < s.base })
	slices.SortStableFunc(list, func(a, b span) int { return cmp.Compare(a.base, b.base) })
	for i := 1; i < len(list); i++ {
		a, b := list[i-1], list[i]
		if b.base <= a.last() {
			r.add("%s: %s at [0x%X, +0x%X) and %s at [0x%X, +0x%X) overlap", table, a.name, a.base, a.length, b.name, b.base, b.length)
		}
		if a.last() > b.last() {
			list[i] = a
		}
	}
}

func isDisk(s *SPARange) bool {
	switch s.Type {
	case SPAVolatileDisk, SPAVolatileCD, SPAPersistentDisk, SPAPersistentCD:
		return true
	}
	return false
}

func (r *report) capabilities(s *PlatformCapabilities) {
	if highest := bits.Len32(s.Capabilities) - 1; highest > int(s.HighestValid) {
		r.add("NFIT: capability bit %d is set, but the highest valid bit is %d", highest, s.HighestValid)
	}
	if s.Capabilities&CapCPUCacheFlush != 0 && s.Capabilities&CapMemoryController == 0 {
		r.add("NFIT: capability bit 0 (CPU cache flush) requires bit 1 (memory controller flush)")
	}
}

func (r *report) mapping(s *MemoryDevice, spas map[uint16]*SPARange, controls map[uint16]*ControlRegion, interleaves map[uint16]*Interleave) {
	spa := spas[s.SPAIndex]
	switch {
	case s.SPAIndex == 0 && s.Flags&MapFailed == 0:
		r.add("NFIT: device handle 0x%X region %d has SPA index 0, but does not say that mapping failed", s.Handle, s.RegionID)
	case s.SPAIndex != 0 && spa == nil:
		r.add("NFIT: device handle 0x%X region %d refers to SPA range %d, which does not exist", s.Handle, s.RegionID, s.SPAIndex)
	case spa != nil && s.RegionSize > spa.Length:
		r.add("NFIT: device handle 0x%X region %d of 0x%X bytes is larger than SPA range %d of 0x%X", s.Handle, s.RegionID, s.RegionSize, spa.Index, spa.Length)
	}
	if controls[s.ControlIndex] == nil {
		r.add("NFIT: device handle 0x%X region %d refers to control region %d, which does not exist", s.Handle, s.RegionID, s.ControlIndex)
	}
	if s.InterleaveIndex != 0 && interleaves[s.InterleaveIndex] == nil {
		r.add("NFIT: device handle 0x%X region %d refers to interleave %d, which does not exist", s.Handle, s.RegionID, s.InterleaveIndex)
	}
	if s.InterleaveWays == 0 {
		r.add("NFIT: device handle 0x%X region %d has 0 interleave ways: 1 means none", s.Handle, s.RegionID)
	}
}

// srat checks ranges of memory (section 5.2.16.2).
func (r *report) srat(list []SRATEntry) {
	var ranges []span
	for _, e := range list {
		m, ok := e.(*MemoryAffinity)
		if !ok || m.Flags&AffinityEnabled == 0 {
			continue
		}
		if m.Length == 0 || m.Base+m.Length-1 < m.Base {
			r.add("SRAT: memory range at 0x%X has length 0x%X, which is empty or goes beyond the address space", m.Base, m.Length)
		}
		ranges = append(ranges, span{m.Base, m.Length, fmt.Sprintf("memory of proximity domain %d", m.Proximity)})
	}
	r.disjoint("SRAT", ranges)
}
