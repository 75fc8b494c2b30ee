package aml

import (
	"fmt"
	"strings"
	"testing"
)

func TestResources(t *testing.T) {
	fixed := AddressSpace{Consumer: true, MinFixed: true, MaxFixed: true}
	kind := func(k AddressKind, flags uint8) AddressSpace {
		a := fixed
		a.Kind, a.TypeFlags = k, flags
		return a
	}
	for _, c := range []struct {
		resource Resource
		bytes    string // after section 6.4
		text     string
	}{
		{IRQNoFlags{Mask: 0x8001}, "22 01 80", "IRQNoFlags () {0, 15}"},
		{IRQ{Edge: true, ActiveLow: true, Shared: true, Wake: true, Mask: 0x200}, "23 00 02 39", "IRQ (Edge, ActiveLow, SharedAndWake) {9}"},
		{IO{Decode16: true, Min: 0x3F8, Max: 0x3F8, Align: 1, Length: 8}, "47 01 F8 03 F8 03 01 08", "IO (Decode16, 0x03F8, 0x03F8, 0x01, 0x08)"},
		{FixedIO{Base: 0x218, Length: 4}, "4B 18 02 04", "FixedIO (0x0218, 0x04)"},
		{Memory32Fixed{Base: 0xFED00000, Length: 0x400}, "86 09 00 00 00 00 D0 FE 00 04 00 00", "Memory32Fixed (ReadOnly, 0xFED00000, 0x00000400)"},
		{Interrupt{Consumer: true, ActiveLow: true, Numbers: []uint32{9, 10}}, "89 0A 00 05 02 09 00 00 00 0A 00 00 00",
			"Interrupt (ResourceConsumer, Level, ActiveLow, Exclusive) { 0x00000009, 0x0000000A }"},
		{WordSpace{AddressSpace: kind(BusNumberRange, 0), Max: 255, Length: 256}, "88 0D 00 02 0D 00 00 00 00 00 FF 00 00 00 00 01",
			"WordBusNumber (ResourceConsumer, MinFixed, MaxFixed, PosDecode, 0x0000, 0x0000, 0x00FF, 0x0000, 0x0100)"},
		{DWordSpace{AddressSpace: kind(IORange, 3), Min: 0x1000, Max: 0x1FFF, Length: 0x1000},
			"87 17 00 01 0D 03 00 00 00 00 00 10 00 00 FF 1F 00 00 00 00 00 00 00 10 00 00",
			"DWordIO (ResourceConsumer, MinFixed, MaxFixed, PosDecode, EntireRange, 0x00000000, 0x00001000, 0x00001FFF, 0x00000000, 0x00001000)"},
		{QWordMemory(1<<32, 1<<30),
			"8A 2B 00 00 0D 03 00 00 00 00 00 00 00 00 00 00 00 00 01 00 00 00 FF FF FF 3F 01 00 00 00 00 00 00 00 00 00 00 00 00 00 00 40 00 00 00 00",
			"QWordMemory (ResourceConsumer, PosDecode, MinFixed, MaxFixed, Cacheable, ReadWrite, 0x0000000000000000, 0x0000000100000000, 0x000000013FFFFFFF, 0x0000000000000000, 0x0000000040000000)"},
		{DWordSpace{AddressSpace: AddressSpace{Kind: 0xC0, Subtractive: true, TypeFlags: 1}},
			"87 17 00 C0 02 01" + strings.Repeat(" 00", 20),
			"DWordSpace (0xC0, ResourceProducer, SubDecode, MinNotFixed, MaxNotFixed, 0x01, 0x00000000, 0x00000000, 0x00000000, 0x00000000, 0x00000000)"},
	} {
		if got := fmt.Sprintf("% X", c.resource.descriptor()); got != c.bytes {
			t.Errorf("%+v encodes to %s, want %s", c.resource, got, c.bytes)
		}
		text, err := Disassemble(encode(t, Name("_CRS", ResourceTemplate(c.resource))))
		if want := "    " + c.text + "\n"; err != nil || !strings.Contains(text, want) {
			t.Errorf("%+v disassembles to %v\n%s\nwant %s", c.resource, err, text, want)
		}
	}
}

// TestNoResources shows buffers as bytes that are templates but for a detail.
func TestNoResources(t *testing.T) {
	for name, b := range map[string]Buffer{
		"no end tag":         {0x22, 1, 0},
		"end tag alone":      {0x79, 0},
		"end tag's checksum": {0x22, 1, 0, 0x79, 0x64},
		"bytes that follow":  {0x22, 1, 0, 0x79, 0, 0},
		"reserved flag":      {0x23, 1, 0, 0x80, 0x79, 0},
		"unknown descriptor": {0x2A, 1, 0, 0x79, 0},
		"truncated":          {0x86, 9, 0, 0, 0x79, 0},
		"no address kind":    {0x88, 1, 0, 0, 0x79, 0},
	} {
		text, err := Disassemble(encode(t, Name("_CRS", b)))
		if err != nil || !strings.HasPrefix(text, "Name (_CRS, Buffer (") {
			t.Errorf("a buffer with %s disassembles to %v, %s\nwant bytes", name, err, text)
		}
	}
}
