package fp

import "encoding/binary"

const (
	envSize   = 28
	stateSize = 108
)

// tagWord gives the full tags: two bits for each register, 0 valid, 1 zero, 2
// special, 3 empty (SDM vol. 1, 8.1.7).
func (x *X87) tagWord() (w uint16) {
	for i, v := range x.R {
		tag := uint16(3)
		if x.Tag>>i&1 != 0 {
			switch n := v.decode(); {
			case n.kind == zero:
				tag = 1
			case n.kind == finite && !n.denormal:
				tag = 0
			default:
				tag = 2
			}
		}
		w |= tag << (2 * i)
	}
	return w
}

// storeEnv writes the environment in the 32-bit protected-mode format (SDM
// vol. 1, figure 8-9).
func (x *X87) storeEnv(data []byte) {
	const reserved = 0xFFFF << 16
	put := func(offset int, v uint32) { binary.LittleEndian.PutUint32(data[offset:], v) }
	put(0, reserved|uint32(x.CW))
	put(4, reserved|uint32(x.SW))
	put(8, reserved|uint32(x.tagWord()))
	put(12, uint32(x.FIP))
	put(16, uint32(x.FOP&0x7FF)<<16|uint32(x.FCS))
	put(20, uint32(x.FDP))
	put(24, reserved|uint32(x.FDS))
}

func (x *X87) loadEnv(data []byte) {
	get := func(offset int) uint32 { return binary.LittleEndian.Uint32(data[offset:]) }
	x.SW = uint16(get(4))
	tags := get(8)
	x.Tag = 0
	for i := range 8 {
		if tags>>(2*i)&3 != 3 {
			x.Tag |= 1 << i
		}
	}
	x.FIP, x.FDP = uint64(get(12)), uint64(get(20))
	x.FCS, x.FDS = uint16(get(16)), uint16(get(24))
	x.FOP = uint16(get(16)>>16) & 0x7FF
	x.loadControl(uint16(get(0)))
}

// save is FNSAVE: it leaves the FPU initialized.
func (x *X87) save(data []byte) {
	x.storeEnv(data)
	for i := range uint8(8) {
		storeF80(data[envSize+10*int(i):], *x.st(i))
	}
	x.init()
}

func (x *X87) restore(data []byte) {
	x.loadEnv(data)
	for i := range uint8(8) {
		*x.st(i) = loadF80(data[envSize+10*int(i):])
	}
}

// Fxsave writes the x87 part of an FXSAVE64 image: bytes 0 to 23 and 32 to
// 159 (SDM vol. 2, FXSAVE). MXCSR, its mask and the XMM registers are the
// caller's.
func (x *X87) Fxsave(image *[512]byte) {
	le := binary.LittleEndian
	le.PutUint16(image[0:], x.CW)
	le.PutUint16(image[2:], x.SW)
	image[4], image[5] = x.Tag, 0
	le.PutUint16(image[6:], x.FOP)
	le.PutUint64(image[8:], x.FIP)
	le.PutUint64(image[16:], x.FDP)
	for i := range uint8(8) {
		slot := image[32+16*int(i):][:16]
		storeF80(slot, *x.st(i))
		clear(slot[10:])
	}
}

// Fxrstor reads what Fxsave writes.
func (x *X87) Fxrstor(image *[512]byte) {
	le := binary.LittleEndian
	x.SW = le.Uint16(image[2:])
	x.loadControl(le.Uint16(image[0:]))
	x.Tag = image[4]
	x.FOP = le.Uint16(image[6:]) & 0x7FF
	x.FIP, x.FDP = le.Uint64(image[8:]), le.Uint64(image[16:])
	x.FCS, x.FDS = 0, 0
	for i := range uint8(8) {
		*x.st(i) = loadF80(image[32+16*int(i):])
	}
}
