package fp

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"testing"
)

// show describes a state.
func show(x X87) string {
	s := fmt.Sprintf("CW %03x SW %04x tags %02x", x.CW, x.SW, x.Tag)
	for i := range uint8(8) {
		if v := *x.st(i); !x.empty(i) || i == 0 || i == 7 {
			s += fmt.Sprintf(" st%d=%04x:%016x", i, v.SE, v.Sig)
		}
	}
	return s
}

// run executes instructions, written as pairs of bytes, and expects no fault.
func (x *X87) run(t *testing.T, code string) {
	t.Helper()
	for ; code != ""; code = code[2:] {
		if fault := x.Reg(code[0], code[1], &Flags{}, nil); fault != None {
			t.Fatalf("%X gave fault %d", code[:2], fault)
		}
	}
}

const (
	fld1   = "\xD9\xE8"
	fldpi  = "\xD9\xEB"
	fldz   = "\xD9\xEE"
	faddp  = "\xDE\xC1"
	fdivp  = "\xDE\xF9"
	fchs   = "\xD9\xE0"
	fcom   = "\xD8\xD1"
	fxam   = "\xD9\xE5"
	fptan  = "\xD9\xF2"
	fscale = "\xD9\xFD"
	fsqrt  = "\xD9\xFA"
	fninit = "\xDB\xE3"
	fnclex = "\xDB\xE2"
	ffree0 = "\xDD\xC0"
)

func TestX87(t *testing.T) {
	for _, c := range []struct {
		name, code string
		cw         uint16
		st0        F80
		sw         uint16 // but for the top
	}{
		{"1 + 1", fld1 + fld1 + faddp, cwInit, F80{1 << 63, 0x4000}, 0},
		{"1/3", fld1 + fld1 + fld1 + faddp + fld1 + faddp + fdivp, cwInit, F80{0xAAAAAAAAAAAAAAAB, 0x3FFD}, swC1 | flagPrecision},
		{"1/3 to zero", fld1 + fld1 + fld1 + faddp + fld1 + faddp + fdivp, cwInit | toZero<<10, F80{0xAAAAAAAAAAAAAAAA, 0x3FFD}, flagPrecision},
		{"1/3 to 24 bits", fld1 + fld1 + fld1 + faddp + fld1 + faddp + fdivp, cwInit &^ 0x300, F80{0xAAAAAB0000000000, 0x3FFD}, swC1 | flagPrecision},
		{"1/0", fld1 + fldz + fdivp, cwInit, F80{1 << 63, 0x7FFF}, flagZero},
		{"1/0, unmasked", fld1 + fldz + fdivp, cwInit &^ flagZero, F80{0, 0}, flagZero | swPending | swBusy},
		{"the root of -1", fld1 + fchs + fsqrt, cwInit, indefinite80, flagInvalid},
		{"π to nearest", fldpi, cwInit, F80{0xC90FDAA22168C235, 0x4000}, 0},
		{"π downwards", fldpi, cwInit | down<<10, F80{0xC90FDAA22168C234, 0x4000}, 0},
		{"the ninth push", strings.Repeat(fld1, 9), cwInit, indefinite80, flagInvalid | swStackFault | swC1},
		{"the ninth push, unmasked", strings.Repeat(fld1, 9), cwInit &^ flagInvalid, F80{1 << 63, 0x3FFF}, flagInvalid | swStackFault | swC1 | swPending | swBusy},
		{"an empty register", fld1 + ffree0 + fchs, cwInit, indefinite80, flagInvalid | swStackFault},
		{"1 < π", fldpi + fld1 + fcom, cwInit, F80{1 << 63, 0x3FFF}, swC0},
		{"examining -0", fldz + fchs + fxam, cwInit, F80{0, 0x8000}, swC3 | swC1},
		{"examining nothing", fxam, cwInit, F80{}, swC3 | swC0},
		{"tan 0", fldz + fptan, cwInit, F80{1 << 63, 0x3FFF}, 0},
		{"1 × 2^3", fld1 + fld1 + faddp + fld1 + faddp + fld1 + fscale, cwInit, F80{1 << 63, 0x4002}, 0},
	} {
		var x X87
		x.Reset()
		x.CW = c.cw
		x.run(t, c.code)
		if *x.st(0) != c.st0 || x.SW&^swTop != c.sw {
			t.Errorf("%s = %04X:%016X, status %04X, want %04X:%016X, %04X",
				c.name, x.st(0).SE, x.st(0).Sig, x.SW&^swTop, c.st0.SE, c.st0.Sig, c.sw)
		}
	}
}

// An unmasked exception shows at the next waiting instruction.
func TestX87Pending(t *testing.T) {
	var x X87
	x.Reset()
	x.CW &^= flagZero
	x.run(t, fld1+fldz+fdivp)
	before := x
	if fault := x.Reg(fld1[0], fld1[1], &Flags{}, nil); fault != MF || x != before || !x.Pending() {
		t.Errorf("FLD1 after an unmasked 1/0 gave fault %d, pending %v, want %d, true", fault, x.Pending(), MF)
	}
	var status [2]byte
	if fault := x.Store(0xDD, 7, status[:]); fault != None || binary.LittleEndian.Uint16(status[:]) != x.SW {
		t.Errorf("FNSTSW gave fault %d and %x, want %d and %04x", fault, status, None, x.SW)
	}
	x.run(t, fnclex+fld1)
	if x.SW&^swTop != 0 {
		t.Errorf("FNCLEX left status %04x, want 0", x.SW&^swTop)
	}
}

func TestX87NoStore(t *testing.T) {
	var x X87
	x.Reset()
	x.CW &^= flagInvalid
	x.run(t, fldpi)
	x.st(0).SE += 100
	data := []byte{1, 2, 3, 4}
	before := x
	if fault := x.Store(0xDB, 3, data); fault != NoStore || x.top() != before.top() || !x.Pending() {
		t.Errorf("FISTP of a large number, invalid unmasked, gave fault %d, top %d, want %d, %d", fault, x.top(), NoStore, before.top())
	}
}

func TestX87Memory(t *testing.T) {
	float := func(f float64) []byte { return binary.LittleEndian.AppendUint64(nil, math.Float64bits(f)) }
	for _, c := range []struct {
		name      string
		load      []byte
		op, reg   byte
		storeOp   byte
		storeReg  byte
		want      string
		wantFlags uint16
	}{
		{"an integer of 16 bits", []byte{0xFE, 0xFF}, 0xDF, 0, 0xDB, 3, "\xFE\xFF\xFF\xFF", 0},
		{"a double as decimal", float(-1234567), 0xDD, 0, 0xDF, 6, "\x67\x45\x23\x01\x00\x00\x00\x00\x00\x80", 0},
		{"1e18 as decimal", float(1e18), 0xDD, 0, 0xDF, 6, "\x00\x00\x00\x00\x00\x00\x00\xC0\xFF\xFF", flagInvalid},
		{"decimal as a long integer", []byte{0x99, 0, 0, 0, 0, 0, 0, 0, 0, 0x80}, 0xDF, 4, 0xDF, 7, "\x9D\xFF\xFF\xFF\xFF\xFF\xFF\xFF", 0},
		{"2.5 as an integer", float(2.5), 0xDD, 0, 0xDF, 3, "\x02\x00", flagPrecision},
		{"2.9 truncated", float(2.9), 0xDD, 0, 0xDB, 1, "\x02\x00\x00\x00", flagPrecision},
		{"a large double as a single", float(1e300), 0xDD, 0, 0xD9, 3, "\x00\x00\x80\x7F", flagOverflow | flagPrecision},
		{"40000 as a short integer", float(40000), 0xDD, 0, 0xDF, 3, "\x00\x80", flagInvalid},
	} {
		var x X87
		x.Reset()
		size, _, _ := MemOperand(c.storeOp, c.storeReg)
		got := make([]byte, size)
		if fault := x.Load(c.op, c.reg, c.load); fault != None {
			t.Fatalf("%s: loading gave fault %d", c.name, fault)
		}
		if fault := x.Store(c.storeOp, c.storeReg, got); fault != None {
			t.Fatalf("%s: storing gave fault %d", c.name, fault)
		}
		if string(got) != c.want || x.SW&0x3F != c.wantFlags || x.Tag != 0 {
			t.Errorf("%s = %x, flags %#x, want %x, %#x, and an empty stack", c.name, got, x.SW&0x3F, c.want, c.wantFlags)
		}
	}
}

func TestMMXAliases(t *testing.T) {
	var x X87
	x.Reset()
	x.run(t, fld1+fld1)
	x.EnterMMX()
	*x.MMX(6) = 42
	x.TouchMMX(6)
	if x.top() != 0 || x.Tag != 0xFF || *x.st(6) != (F80{42, 0xFFFF}) || *x.st(7) != (F80{1 << 63, 0x3FFF}) {
		t.Errorf("after a write of MM6 the FPU is %s, want top 0, all in use, and ST(6) ffff:2a", show(x))
	}
	x.EMMS()
	x.run(t, fninit)
	if x.Tag != 0 || *x.MMX(6) != 42 {
		t.Errorf("EMMS and FNINIT left tags %02x and MM6 %x, want 00 and 2a", x.Tag, *x.MMX(6))
	}
}
