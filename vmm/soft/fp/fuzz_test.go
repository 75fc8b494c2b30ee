package fp

import (
	"encoding/binary"
	"testing"
)

// FuzzSSE checks what holds for every instruction: it changes nothing if it
// raises #XM, which it does if and only if an unmasked exception happened, and
// it takes no flag back.
func FuzzSSE(f *testing.F) {
	f.Add(byte(0xF2), byte(0x58), byte(0), byte(0), uint32(0x1F80), uint64(0x3FF0000000000000), uint64(0), uint64(1), uint64(2))
	f.Add(byte(0x66), byte(0x5E), byte(0), byte(0), uint32(0x0000), uint64(1), uint64(0), uint64(0), uint64(0))
	f.Add(byte(0), byte(0x51), byte(0), byte(0), uint32(0xFFFF), ^uint64(0), uint64(0x7F800001), ^uint64(0), uint64(0x80000001))
	f.Add(byte(0x66), byte(0x73), byte(7), byte(17), uint32(0x1F80), uint64(1), uint64(2), uint64(3), uint64(4))
	f.Fuzz(func(t *testing.T, prefix, opcode, reg, imm byte, mxcsr uint32, a0, a1, b0, b1 uint64) {
		mxcsr &= 0xFFFF
		a, b := Vec{a0, a1}, Vec{b0, b1}
		if op := Lookup(prefix, opcode, reg); op != nil {
			got, after := a, mxcsr
			ok := op.Fn(&got, &b, imm, &after)
			if after&^0x3F != mxcsr&^0x3F || mxcsr&^after != 0 {
				t.Errorf("%s turned MXCSR %04x into %04x", op.Name, mxcsr, after)
			}
			if unmasked := after &^ mxcsr & 0x3F &^ (mxcsr >> 7); ok && unmasked != 0 {
				t.Errorf("%s under MXCSR %04x raised no #XM for the flags %02x", op.Name, mxcsr, unmasked)
			}
			if !ok && (got != a || after&0x3F&^(mxcsr>>7) == 0) {
				t.Errorf("%s under MXCSR %04x raised #XM with flags %02x and changed %x to %x", op.Name, mxcsr, after&0x3F, a, got)
			}
			alias := a
			same, m := a, mxcsr
			op.Fn(&alias, &alias, imm, &m)
			m = mxcsr
			if op.Fn(&same, &a, imm, &m); same != alias {
				t.Errorf("%s of one register, %x, gave %x, and of two equal ones %x", op.Name, a, alias, same)
			}
		}
		if op := LookupMMX(opcode, reg); op != nil {
			op.Fn(&a0, &b0, imm)
		}
		Comi(prefix, opcode, &a, &b, &mxcsr)
		CvtToInt(prefix, reg&1 != 0, &b, 4+int(imm&4), &mxcsr)
		CvtFromInt(prefix, &a, b0, 4+int(imm&4), &mxcsr)
	})
}

// FuzzX87 runs any instruction in any state that FXRSTOR can load, and checks
// that the state is one that FXSAVE can store.
func FuzzX87(f *testing.F) {
	var image [160]byte
	image[0], image[1] = 0x7F, 3
	f.Add(image[:], byte(0xD9), byte(0xE8), make([]byte, 108))
	image[4] = 0xFF
	for i := 32; i < 160; i++ {
		image[i] = byte(i * 37)
	}
	for modrm := byte(0xE0); modrm != 0; modrm++ {
		f.Add(image[:], byte(0xD9), modrm, make([]byte, 108))
	}
	f.Add(image[:], byte(0xDF), byte(0x30), make([]byte, 108))
	f.Fuzz(func(t *testing.T, initial []byte, op, modrm byte, data []byte) {
		var image [512]byte
		copy(image[:], initial)
		var x X87
		x.Fxrstor(&image)
		before := x
		fault := UD
		size, store, ok := MemOperand(op, modrm>>3&7)
		switch {
		case modrm >= 0xC0:
			var flags Flags
			var ax uint16
			fault = x.Reg(op, modrm, &flags, &ax)
		case !ok || size > len(data):
		case store:
			fault = x.Store(op, modrm>>3&7, data[:size])
		default:
			fault = x.Load(op, modrm>>3&7, data[:size])
		}
		if (fault == UD || fault == MF) && x != before {
			t.Errorf("%02X %02X failed with %d and changed the state from %+v to %+v", op, modrm, fault, before, x)
		}
		if fault == MF && !before.Pending() {
			t.Errorf("%02X %02X raised #MF without a pending exception", op, modrm)
		}
		pending := x.SW&^x.CW&0x3F != 0
		if x.Pending() != pending || x.SW>>15 != x.SW>>7&1 {
			t.Errorf("%02X %02X left status %04x under control %04x", op, modrm, x.SW, x.CW)
		}
		var saved [512]byte
		x.Fxsave(&saved)
		var again X87
		again.Fxrstor(&saved)
		again.FCS, again.FDS = x.FCS, x.FDS
		if again != x {
			t.Errorf("%02X %02X left %+v, which is saved and restored as %+v", op, modrm, x, again)
		}
		if len(data) >= 8 {
			x.EnterMMX()
			*x.MMX(int(modrm)) = binary.LittleEndian.Uint64(data)
			x.TouchMMX(int(modrm))
			x.EMMS()
		}
	})
}
