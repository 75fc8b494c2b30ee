package fp

import (
	"math/rand/v2"
	"runtime"
	"testing"
)

// trap runs form on m, and says whether it raised #XM, which Go turns into a
// panic. MXCSR then is as the instruction left it.
func trap(form func(*machine), finish func(*machine), m *machine) (raised bool) {
	defer func() {
		if recover() != nil {
			finish(m)
			raised = true
		}
	}()
	form(m)
	return false
}

// TestNativeUnmasked compares which exceptions SSE instructions raise if some
// are not masked, and the flags that they leave.
func TestNativeUnmasked(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	r := rand.New(rand.NewPCG(11, 12))
	n := newNative(t)
	forms := sseForms(n)
	finish := n.compile(storeMXCSR + restoreMXCSR + ret)
	total, traps := 0, 0
	for _, form := range forms {
		if form.imm > 7 {
			continue
		}
		failures := 0
		for range rounds(2000) {
			a, b := operandVec(r), operandVec(r)
			b = related(r, a, b)
			mxcsr := randomMXCSR(r) &^ 0x3F
			if r.IntN(2) == 0 {
				mxcsr &^= 1 << (7 + r.IntN(6))
			} else {
				mxcsr &^= r.Uint32() & mxcsrMasks
			}
			m := machine{dst: a, src: b, mxcsr: mxcsr}
			raised := trap(form.run, finish, &m)
			got, gotMXCSR := a, mxcsr
			ok := form.op.Fn(&got, &b, form.imm, &gotMXCSR)
			total++
			if raised {
				traps++
			}
			if ok == raised || gotMXCSR != m.mxcsr || !ok && got != a {
				t.Errorf("%s(%x, %x) under MXCSR %04x: raises %v with MXCSR %04x and %x, want %v with %04x",
					form.text, a, b, mxcsr, !ok, gotMXCSR, got, raised, m.mxcsr)
				if failures++; failures > 3 {
					break
				}
			}
		}
	}
	t.Logf("%d comparisons, %d exceptions", total, traps)
}
