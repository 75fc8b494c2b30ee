package fp

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

const (
	frstor = "\xDD\x60\x48" // [rax+fpu]
	fnsave = "\xDD\x70\x48"
	memory = "\xB8\x00\x00\x00" // the displacement of mem
)

// onHost runs an instruction from state x on the host; mem is its memory
// operand. The instruction and data pointers do not take part.
func onHost(run func(*machine), x *X87, m *machine) {
	copyOf := *x
	copyOf.save(m.fpu[:])
	run(m)
	x.restore(m.fpu[:])
	x.FIP, x.FDP, x.FCS, x.FDS, x.FOP = 0, 0, 0, 0, 0
}

func operand80(r *rand.Rand) F80 {
	sign := uint16(r.Uint32() & 0x8000)
	switch r.IntN(12) {
	case 0:
		return F80{0, sign}
	case 1:
		return F80{1 << 63, sign | 0x7FFF}
	case 2: // quiet and signaling NaNs, with few payloads
		return F80{1<<63 | uint64(r.IntN(4))<<61 | uint64(r.IntN(2)), sign | 0x7FFF}
	case 3: // denormals, pseudo-denormals
		return F80{r.Uint64() >> r.IntN(64), sign}
	case 4: // unsupported ones
		return F80{r.Uint64() >> 1, uint16(r.Uint32())}
	case 5, 6: // what fits other formats
		var n number
		switch r.IntN(3) {
		case 0:
			n = double.decode(operand64(r))
		case 1:
			n = single.decode(uint64(operand32(r)))
		default:
			n = integerNumber(int64(r.Uint64()) >> r.IntN(64))
		}
		if n.kind == signalingNaN && n.sig<<1 == 0 {
			n.sig |= 1
		}
		return n.encode80()
	case 7: // near the limits
		return F80{1<<63 | r.Uint64()<<r.IntN(64), []uint16{0, 0x7FF0, 1, 30}[r.IntN(4)] + uint16(r.IntN(15)) | sign}
	case 8: // near 1
		return F80{1<<63 | r.Uint64()<<r.IntN(64), 16383 - 2 + uint16(r.IntN(5)) | sign}
	case 9: // middling, for integers
		return F80{1<<63 | r.Uint64()<<r.IntN(64), 16383 - 10 + uint16(r.IntN(80)) | sign}
	}
	return F80{1<<63 | r.Uint64(), uint16(r.IntN(0x7FFF)) | sign}
}

// randomX87 gives a state without a pending exception.
func randomX87(r *rand.Rand, masked bool) (x X87) {
	x.Reset()
	for i := range x.R {
		x.R[i] = operand80(r)
	}
	if r.IntN(8) == 0 { // cancellation
		a := x.R[r.IntN(8)]
		a.Sig += uint64(r.IntN(5)) - 2
		a.SE ^= uint16(r.IntN(2)) << 15
		x.R[r.IntN(8)] = a
	}
	x.Tag = uint8(r.Uint32() | r.Uint32() | r.Uint32())
	x.CW = cwInit&^0xF3F | 0x3F | uint16(r.IntN(4))<<10 | []uint16{0, 2, 3, 3}[r.IntN(4)]<<8
	x.SW = uint16(r.Uint32()) & (swC0 | swC1 | swC2 | swC3 | swTop)
	if r.IntN(3) == 0 {
		x.setTop(7)
	}
	if r.IntN(2) == 0 { // room to push
		x.Tag &^= 1 << x.physical(7)
		x.Tag |= 1<<x.physical(0) | 1<<x.physical(1)
	}
	if r.IntN(8) == 0 {
		x.SW |= uint16(r.Uint32()) & 0x7F
	}
	if !masked {
		x.CW &^= uint16(r.Uint32()) & 0x3F
		x.SW &^= swFlags &^ x.CW
	}
	return x
}

// x87Form is an instruction D8..DF with a register operand.
type x87Form struct {
	op, modrm byte
}

func (f x87Form) String() string { return fmt.Sprintf("%02X %02X", f.op, f.modrm) }

// isAlias: an encoding that is not documented.
func (f x87Form) isAlias() bool {
	switch reg := f.modrm >> 3 & 7; f.op {
	case 0xD9:
		return reg == 3
	case 0xDC:
		return reg == 2 || reg == 3
	case 0xDD:
		return reg == 1
	case 0xDE:
		return reg == 2
	case 0xDF:
		return reg < 4
	}
	return false
}

// varies: the result depends on the implementation in cases that the tests
// reach: the partial FPREM, what FFREE leaves in C1, FSCALE far out of range.
func (f x87Form) varies() bool {
	remainder := f.op == 0xD9 && (f.modrm == 0xF5 || f.modrm == 0xF8 || f.modrm == 0xFD)
	return f.transcendental() || f.isAlias() || remainder || f.op == 0xDD && f.modrm < 0xC8
}

func (f x87Form) transcendental() bool {
	if f.op != 0xD9 {
		return false
	}
	switch f.modrm {
	case 0xF0, 0xF1, 0xF2, 0xF3, 0xF9, 0xFB, 0xFE, 0xFF:
		return true
	}
	return false
}

func testRegister(t *testing.T, masked bool, forms func(x87Form) bool, count int) {
	r := rand.New(rand.NewPCG(3, 4))
	n := newNative(t)
	total := 0
	var m machine // this and what else is passed by address: not allocated for each round
	var got X87
	var gotFlags Flags
	for op := 0xD8; op <= 0xDF; op++ {
		for modrm := 0xC0; modrm <= 0xFF; modrm++ {
			form := x87Form{byte(op), byte(modrm)}
			if decodeReg(form.op, form.modrm) == nil || !forms(form) || !n.amd && form.varies() {
				continue
			}
			run := n.compile(loadGPR + loadFlags + frstor + string([]byte{form.op, form.modrm}) + storeFlags + fnsave + ret)
			failures := 0
			for range rounds(count) {
				x := randomX87(r, masked)
				if !masked && form.transcendental() {
					x.CW |= flagPrecision
				}
				flags := Flags{CF: r.IntN(2) == 0, PF: r.IntN(2) == 0, ZF: r.IntN(2) == 0}
				m = machine{gpr: flags.word()}
				start, want := x, x
				got, gotFlags = x, flags
				onHost(run, &want, &m)
				if fault := got.Reg(form.op, form.modrm, &gotFlags, nil); fault != None {
					t.Fatalf("%v gave fault %d", form, fault)
				}
				total++
				wantFlags := Flags{CF: m.flags[2] != 0, PF: m.flags[1] != 0, ZF: m.flags[0] != 0}
				if !defined(form, got, want) || gotFlags != wantFlags && want.SW&^want.CW&flagInvalid == 0 {
					t.Errorf("%v on %s, %v\n gave  %s, %v,\n  want %s, %v", form, show(start), flags, show(got), gotFlags, show(want), wantFlags)
					if failures++; failures >= 3 {
						break
					}
				}
			}
		}
	}
	t.Logf("%d comparisons", total)
}

// word is in the layout of EFLAGS.
func (f Flags) word() uint64 {
	w := uint64(0x202)
	if f.CF {
		w |= 1
	}
	if f.PF {
		w |= 4
	}
	if f.ZF {
		w |= 0x40
	}
	return w
}

// defined compares what is defined after an instruction. FCOMI and its kin
// clear C1 by one maker's manual, and leave it alone on the other's processors.
func defined(f x87Form, got, want X87) bool {
	if (f.op == 0xDB || f.op == 0xDF) && f.modrm >= 0xE8 {
		got.SW &^= swC1
		want.SW &^= swC1
	}
	if f.compares() && want.SW&^want.CW&flagInvalid != 0 {
		got.SW |= swC0 | swC2 | swC3
		want.SW |= swC0 | swC2 | swC3
	}
	if f.transcendental() {
		return nearly(got, want)
	}
	return got == want
}

// compares: FCOM and its kin, with a register.
func (f x87Form) compares() bool {
	switch f.op {
	case 0xD8, 0xDC, 0xDE:
		return f.modrm >= 0xD0 && f.modrm <= 0xDF
	case 0xD9:
		return f.modrm == 0xE4
	case 0xDA:
		return f.modrm == 0xE9
	case 0xDD:
		return f.modrm >= 0xE0
	}
	return false
}

func TestNativeX87Registers(t *testing.T) {
	t.Parallel()
	testRegister(t, true, func(f x87Form) bool { return !f.transcendental() }, 4000)
}

func TestNativeX87RegistersUnmasked(t *testing.T) {
	t.Parallel()
	testRegister(t, false, func(f x87Form) bool { return !f.transcendental() }, 2000)
}

// nearly allows what the accuracy of transcendental instructions allows: the
// host's error and one more unit in the last place. C1, and underflow of a
// result near the smallest normal number, follow the rounding.
func nearly(got, want X87) bool {
	got.SW &^= swC1
	want.SW &^= swC1
	for i, g := range got.R {
		if w := want.R[i]; units(g, w) <= 2 {
			got.R[i] = w
		}
	}
	return got == want
}

// units is the distance of two numbers of one sign in units in the last place.
func units(a, b F80) uint64 {
	if a.SE>>15 != b.SE>>15 {
		return math.MaxUint64
	}
	if a.SE < b.SE || a.SE == b.SE && a.Sig < b.Sig {
		a, b = b, a
	}
	switch {
	case a.SE == b.SE && a.SE&0x7FFF != 0x7FFF:
		return a.Sig - b.Sig
	case a.SE == b.SE+1 && a.SE&0x7FFF != 0x7FFF:
		if fraction := a.Sig << 1; fraction < 8 {
			return fraction>>1 - b.Sig // across a power of two
		}
	}
	return math.MaxUint64
}

func TestNativeX87Transcendental(t *testing.T) {
	t.Parallel()
	testRegister(t, true, x87Form.transcendental, 40000)
}

func TestNativeX87TranscendentalUnmasked(t *testing.T) {
	t.Parallel()
	testRegister(t, false, x87Form.transcendental, 10000)
}
