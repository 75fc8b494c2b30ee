package fp

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

// operandBytes fills a memory operand of an instruction.
func operandBytes(r *rand.Rand, op, reg byte, data []byte) {
	le := binary.LittleEndian
	switch {
	case op == 0xDF && reg == 4: // decimal digits
		for i := range data[:9] {
			data[i] = byte(r.IntN(10) | r.IntN(10)<<4)
		}
		data[9] = byte(r.IntN(2) << 7)
	case len(data) == 10:
		storeF80(data, operand80(r))
	case len(data) == 8 && op != 0xDF:
		le.PutUint64(data, operand64(r))
	case len(data) == 4 && op&2 == 0:
		le.PutUint32(data, operand32(r))
	default:
		var v [8]byte
		le.PutUint64(v[:], uint64(int64(r.Uint64())>>r.IntN(64)))
		copy(data, v[:])
	}
}

func testMemory(t *testing.T, masked bool, count int) {
	r := rand.New(rand.NewPCG(5, 6))
	n := newNative(t)
	total := 0
	for op := byte(0xD8); op <= 0xDF; op++ {
		for reg := byte(0); reg < 8; reg++ {
			size, store, ok := MemOperand(op, reg)
			if !ok {
				continue
			}
			run := n.compile(frstor + string([]byte{op, 0x80 | reg<<3}) + memory + fnsave + ret)
			failures := 0
			for range rounds(count) {
				x := randomX87(r, masked)
				var m machine
				switch {
				case store:
					for i := range m.mem {
						m.mem[i] = 0xA5
					}
				case size == 2 && op == 0xD9: // FLDCW
					binary.LittleEndian.PutUint16(m.mem[:], uint16(r.Uint32()))
				case size > 10: // FLDENV, FRSTOR
					y := randomX87(r, r.IntN(2) == 0)
					y.SW |= uint16(r.Uint32()) & 0x80FF
					y.CW = uint16(r.Uint32())
					var state [stateSize]byte
					y.save(state[:])
					copy(m.mem[:size], state[:])
				default:
					operandBytes(r, op, reg, m.mem[:size])
				}
				data := bytes.Clone(m.mem[:size])
				start, got, want := x, x, x
				onHost(run, &want, &m)
				total++
				var fault Fault
				if store {
					if fault = got.Store(op, reg, data); fault == NoStore {
						data = bytes.Repeat([]byte{0xA5}, size)
					}
				} else {
					fault = got.Load(op, reg, data)
				}
				if fault == MF || fault == UD {
					t.Fatalf("%02X /%d gave fault %d", op, reg, fault)
				}
				got.FIP, got.FDP, got.FCS, got.FDS, got.FOP = 0, 0, 0, 0, 0
				gotState, wantState, mem := got, want, m.mem
				if !store && want.SW&^want.CW&flagInvalid != 0 && (op&1 == 0 && reg&6 == 2) {
					gotState.SW |= swC0 | swC2 | swC3 // the codes of FCOM, see defined
					wantState.SW |= swC0 | swC2 | swC3
				}
				if size > 10 && store { // instruction and data pointers
					clear(mem[12:envSize])
					clear(data[12:envSize])
				}
				if gotState != wantState || !bytes.Equal(data, mem[:size]) {
					t.Errorf("%02X /%d on %s, %x\n gave  %s, %x,\n  want %s, %x", op, reg, show(start), m.mem[:size], show(got), data, show(want), mem[:size])
					if failures++; failures >= 3 {
						break
					}
				}
			}
		}
	}
	t.Logf("%d comparisons", total)
}

func TestNativeX87Memory(t *testing.T) { testMemory(t, true, 8000) }
func TestNativeX87MemoryUnmasked(t *testing.T) {
	t.Parallel()
	testMemory(t, false, 4000)
}
