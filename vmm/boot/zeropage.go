package boot

import (
	"encoding/binary"
	"fmt"
)

// Offsets in the zero page (zero-page.rst) outside of the setup header.
const (
	offRSDP        = 0x070
	offE820Entries = 0x1e8
	offE820Table   = 0x2d0

	maxE820 = 128
)

// zeroPage fills in struct boot_params.
func (k *Kernel) zeroPage(z []byte, p Params, initrd uint64) error {
	if len(p.Map) > maxE820 {
		return fmt.Errorf("boot: %d entries in the memory map, at most %d fit", len(p.Map), maxE820)
	}
	le := binary.LittleEndian
	if k.header != nil {
		copy(z[offSetupSects:], k.header)
	} else {
		le.PutUint16(z[offBootFlag:], 0xaa55)
		copy(z[offMagic:], "HdrS")
		le.PutUint16(z[offVersion:], 0x20f)
		le.PutUint32(z[offInitrdMax:], uint32(k.InitrdMax))
		le.PutUint32(z[offCmdlineSize:], uint32(k.CmdlineMax))
	}
	z[offLoader] = 0xff // a loader without an assigned number
	z[offLoadFlags] |= 1
	le.PutUint32(z[offInitrd:], uint32(initrd))
	le.PutUint32(z[offInitrdSize:], uint32(p.InitrdSize))
	le.PutUint32(z[offCmdline:], cmdlineAddr)
	if len(p.Seed) > 0 {
		le.PutUint64(z[offSetupData:], setupDataAddr)
	}
	le.PutUint64(z[offRSDP:], p.RSDP)
	z[offE820Entries] = byte(len(p.Map))
	for i, r := range p.Map {
		e := z[offE820Table+20*i:]
		le.PutUint64(e, r.Base)
		le.PutUint64(e[8:], r.Size)
		le.PutUint32(e[16:], uint32(r.Type))
	}
	return nil
}
