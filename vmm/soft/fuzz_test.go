package soft

import (
	"context"
	"math/rand/v2"
	"testing"

	"nvlab/vmm"
	"nvlab/vmm/soft/x86"
)

// lockstep runs code by the fast path and by the executor alone, with a timer
// ticking, and compares.
func lockstep(t *testing.T, pair *[2]*testMachine, code []byte, seed uint64) {
	type end struct {
		exit vmm.Exit
		r    [16]uint64
		xmm  [16][2]uint64
		rip  uint64
		f    uint64
		now  uint64
		cr2  uint64
	}
	run := func(exact bool) (*testMachine, end) {
		m := pair[0]
		if exact {
			m = pair[1]
		}
		m.reset(t)
		m.p.exact = exact
		m.stubs()
		// Handlers that return, as far as they can.
		for v := range 256 {
			copy(m.ram[testStubs+16*v:], []byte{0x48, 0xcf})
		}
		for _, v := range []int{excDF, excTS, excNP, excSS, excGP, excPF, excAC} {
			copy(m.ram[testStubs+16*v:], []byte{0x48, 0x83, 0xc4, 0x08, 0x48, 0x83, 0x04, 0x24, 0x01, 0x48, 0xcf})
		}
		m.tick()
		m.bus.in = func(port uint16, _ int) uint32 { return uint32(port) * 0x01010101 }
		r := rand.New(rand.NewPCG(seed, 9))
		for i := range 16 {
			if i != x86.RSP {
				m.c.r[i] = interesting(r)
				if r.IntN(2) == 0 {
					m.c.r[i] = testData + uint64(r.IntN(2*x86.PageSize))
				}
			}
		}
		m.put(testCode, code...)
		for i := range 64 {
			m.ram[testCode+len(code)+i] = 0x90
		}
		m.put(testCode+uint64(len(code))+64, 0xe9, byte(-int32(len(code)+69)), byte(-int32(len(code)+69)>>8), byte(-int32(len(code)+69)>>16), 0xff)
		exit, err := m.p.Run(context.Background(), 4000)
		if err != nil {
			t.Fatalf("Run() of % x: %v", code, err)
		}
		c := m.c
		e := end{exit: exit, r: [16]uint64(c.r[:16]), rip: c.rip, f: c.rflags(), now: c.now, cr2: c.cr2}
		copy(e.xmm[:], c.fpu.xmm[:16])
		return m, e
	}
	a, want := run(true)
	b, got := run(false)
	if i := ramMismatch(a.ram, b.ram); i >= 0 {
		t.Errorf("% x with seed %d: memory at %#x differs: %x by the fast path, %x by the executor", code, seed, i, b.ram[i&^7:][:8], a.ram[i&^7:][:8])
	}
	if got != want {
		t.Fatalf("% x with seed %d: the fast path ends in\n%+v\nthe executor in\n%+v", code, seed, got, want)
	}
}

func FuzzExecute(f *testing.F) {
	r := rand.New(rand.NewPCG(5, 6))
	list := usualEncodings()
	for range 40 {
		var code []byte
		for len(code) < 100 {
			b, _ := list[r.IntN(len(list))].instance(r)
			code = append(code, b...)
		}
		f.Add(code, r.Uint64())
	}
	f.Add([]byte{0xf3, 0xa4, 0xf3, 0x48, 0xab, 0xf2, 0xae, 0xf3, 0xa6}, uint64(1))
	f.Add([]byte{0xcd, 0x40, 0xfb, 0xf4, 0xfa, 0x9c, 0x9d}, uint64(2))
	f.Add([]byte{0x0f, 0x01, 0x38, 0x0f, 0x22, 0xd8, 0x0f, 0x20, 0xd8, 0x0f, 0xa2}, uint64(3))
	f.Add([]byte{0xd9, 0xe8, 0xde, 0xc1, 0xdb, 0xf1, 0x0f, 0xae, 0x00, 0x0f, 0x77}, uint64(4))
	pair := [2]*testMachine{newTestMachine(f), newTestMachine(f)}
	f.Fuzz(func(t *testing.T, code []byte, seed uint64) {
		if len(code) > 256 {
			return
		}
		lockstep(t, &pair, code, seed)
	})
}

// TestLockstep compares the two tiers on random programs of known forms.
func TestLockstep(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(7, 8))
	list := usualEncodings()
	n := 100
	if !testing.Short() {
		n = 2000
	}
	pair := [2]*testMachine{newTestMachine(t), newTestMachine(t)}
	for range n {
		var code []byte
		for len(code) < 20+r.IntN(200) {
			if r.IntN(6) == 0 { // a short branch, forwards
				code = append(code, 0x70|byte(r.IntN(16)), byte(r.IntN(12)))
				continue
			}
			b, _ := list[r.IntN(len(list))].instance(r)
			code = append(code, b...)
		}
		lockstep(t, &pair, code, r.Uint64())
		lockstep(t, &pair, nearCode(r, 30+r.IntN(100), testData+x86.PageSize), r.Uint64())
		if t.Failed() {
			return
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte{0x48, 0x8b, 0x84, 0x88, 1, 2, 3, 4})
	f.Add([]byte{0x66, 0x0f, 0x6f, 0x05, 1, 2, 3, 4})
	f.Add([]byte{0xf0, 0x0f, 0xc7, 0x0f})
	f.Add([]byte{0xea, 1, 2, 3, 4, 8, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, long := range []bool{true, false} {
			var in x86.Inst
			switch x86.Decode(b, &in, long) {
			case x86.OK:
				if in.Len == 0 || in.Len > x86.MaxLength || int(in.Len) > len(b) {
					t.Fatalf("decode(% x): length %d of %d bytes", b, in.Len, len(b))
				}
				var shorter x86.Inst
				if n := int(in.Len) - 1; n < x86.MaxLength && x86.Decode(b[:n], &shorter, long) == x86.OK {
					t.Fatalf("decode(% x) is complete with %d bytes, and with %d", b, in.Len, shorter.Len)
				}
			case x86.Short:
				if len(b) >= x86.MaxLength {
					t.Fatalf("decode(% x) wants more than %d bytes", b, x86.MaxLength)
				}
			}
		}
	})
}
