package fp

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestNativeMMX(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	n := newNative(t)
	total := 0
	check := func(op *MMXOp, insn string, imm uint8) {
		run := n.compile(loadMM + insn + storeMM + ret)
		for range rounds(2000) {
			a, b := operandVec(r)[0], operandVec(r)[0]
			switch r.IntN(4) {
			case 0:
				b = uint64(r.IntN(70)) // a count
			case 1:
				b = a ^ 1<<r.IntN(64)
			}
			m := machine{mm: [2]uint64{a, b}}
			run(&m)
			got := a
			op.Fn(&got, &b, imm)
			total++
			if got != m.mm[0] {
				t.Errorf("%s(%016x, %016x, %#x) = %016x, want %016x", op.Name, a, b, imm, got, m.mm[0])
				return
			}
		}
	}
	for opcode := range 256 {
		for reg := range 8 {
			op := LookupMMX(byte(opcode), byte(reg))
			group := opcode >= 0x71 && opcode <= 0x73
			if op == nil || reg > 0 && !group {
				continue
			}
			modrm := byte(0xC1)
			if group {
				modrm = byte(0xC0 | reg<<3)
			}
			insn := string([]byte{0x0F, byte(opcode), modrm})
			if !op.Imm {
				check(op, insn, 0)
				continue
			}
			for _, imm := range []byte{0, 1, 7, 8, 15, 16, 31, 32, 33, 63, 64, 0x1B, 0xE4, 0xFF} {
				check(op, insn+string([]byte{imm}), imm)
			}
		}
	}
	t.Logf("%d comparisons", total)
}

func randomMXCSR(r *rand.Rand) uint32 {
	return mxcsrMasks | r.Uint32()&(mxcsrRC|mxcsrDAZ|mxcsrFTZ) | r.Uint32()&r.Uint32()&0x3F
}

func TestNativeConversions(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	n := newNative(t)
	// result is what an instruction wrote, of all that it may write.
	type result struct {
		xmm     Vec
		gpr, mm uint64
		mxcsr   uint32
		flags   [3]byte
	}
	total := 0
	check := func(name, insn string, ours func(a, b *Vec, gpr, mm uint64, mxcsr *uint32) result) {
		run := n.compile(enter + loadGPR + loadMM + insn + storeFlags + storeMM + storeGPR + leave)
		for range rounds(10000) {
			a, b := operandVec(r), operandVec(r)
			b = related(r, a, b)
			gpr := uint64(int64(r.Uint64()) >> r.IntN(64))
			mm := uint64(int64(r.Uint64()) >> r.IntN(64))
			mxcsr := randomMXCSR(r)
			m := machine{dst: a, src: b, gpr: gpr, mm: [2]uint64{0, mm}, mxcsr: mxcsr}
			run(&m)
			want := result{m.dst, m.gpr, m.mm[0], m.mxcsr, m.flags}
			gotMXCSR := mxcsr
			dst := a
			got := ours(&dst, &b, gpr, mm, &gotMXCSR)
			got.xmm, got.mxcsr = dst, gotMXCSR
			if strings.HasPrefix(name, "cvt") {
				got.flags = want.flags
			}
			total++
			if got != want {
				t.Errorf("%s(xmm %x, xmm %x, gpr %x, mm %x) under MXCSR %x gave\n %x,\n want %x", name, a, b, gpr, mm, mxcsr, got, want)
				return
			}
		}
	}
	for _, p := range prefixes[:2] {
		for _, opcode := range []byte{0x2E, 0x2F} {
			check(fmt.Sprintf("comi %x %x", p.prefix, opcode), p.code+string([]byte{0x0F, opcode, 0xC1}),
				func(a, b *Vec, gpr, mm uint64, mxcsr *uint32) result {
					zf, pf, cf, ok := Comi(p.prefix, opcode, a, b, mxcsr)
					bit := map[bool]byte{true: 1}
					if !ok {
						t.Errorf("comi raised #XM")
					}
					return result{gpr: gpr, flags: [3]byte{bit[zf], bit[pf], bit[cf]}}
				})
		}
		check(fmt.Sprintf("cvtpi2p %x", p.prefix), p.code+"\x0F\x2A\xC1",
			func(a, b *Vec, gpr, mm uint64, mxcsr *uint32) result {
				if p.prefix == 0 {
					CvtPI2PS(a, mm, mxcsr)
				} else {
					CvtPI2PD(a, mm)
				}
				return result{gpr: gpr}
			})
		for _, opcode := range []byte{0x2C, 0x2D} {
			check(fmt.Sprintf("cvtp2pi %x %x", p.prefix, opcode), p.code+string([]byte{0x0F, opcode, 0xC1}),
				func(a, b *Vec, gpr, mm uint64, mxcsr *uint32) result {
					f := CvtPS2PI
					if p.prefix != 0 {
						f = CvtPD2PI
					}
					v, _ := f(opcode == 0x2C, b, mxcsr)
					return result{gpr: gpr, mm: v}
				})
		}
	}
	for _, p := range prefixes[2:] {
		for size, rex := range map[int]string{4: "", 8: "\x48"} {
			check(fmt.Sprintf("cvtsi2s %x size %d", p.prefix, size), p.code+rex+"\x0F\x2A\xC1",
				func(a, b *Vec, gpr, mm uint64, mxcsr *uint32) result {
					CvtFromInt(p.prefix, a, gpr, size, mxcsr)
					return result{gpr: gpr}
				})
			for _, opcode := range []byte{0x2C, 0x2D} {
				check(fmt.Sprintf("cvts2si %x %x size %d", p.prefix, opcode, size), p.code+rex+string([]byte{0x0F, opcode, 0xC9}),
					func(a, b *Vec, gpr, mm uint64, mxcsr *uint32) result {
						v, _ := CvtToInt(p.prefix, opcode == 0x2C, b, size, mxcsr)
						return result{gpr: v}
					})
			}
		}
	}
	t.Logf("%d comparisons", total)
}
