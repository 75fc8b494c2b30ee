package fp

import (
	"math/rand/v2"
	"runtime"
	"testing"

	host "nvlab/vmm/soft/internal/native"
)

// TestNativeUnmasked compares which exceptions SSE instructions raise if some
// are not masked, and the flags that they leave. An exception leads straight to
// code that takes MXCSR and restores the runtime's: with some exceptions not
// masked no Go code may run, since arithmetic of the runtime itself, such as
// the collector's pacing, would raise them or add flags.
func TestNativeUnmasked(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	r := rand.New(rand.NewPCG(11, 12))
	n := newNative(t)
	forms := sseForms(n)
	landing := addrOf(n.place(leave))
	catcher, err := host.Catch(addrOf(&n.page[0]), uint64(len(n.page)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := catcher.Close(); err != nil {
			t.Error(err)
		}
	}()
	const excXM = 19
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
			catcher.Arm(landing)
			form.run(&m)
			fault := catcher.Fault()
			raised := fault.Vector == excXM
			if fault.Vector >= 0 && !raised {
				t.Fatalf("%s raised exception %d", form.text, fault.Vector)
			}
			got, gotMXCSR := a, mxcsr
			ok := form.op.Fn(&got, &b, form.imm, &gotMXCSR)
			total++
			if raised {
				traps++
			}
			if ok == raised || gotMXCSR != m.mxcsr || !ok && (got != a || m.dst != a) {
				t.Errorf("%s(%x, %x) under MXCSR %04x: raises %v with MXCSR %04x and %x, want %v with %04x and %x",
					form.text, a, b, mxcsr, !ok, gotMXCSR, got, raised, m.mxcsr, m.dst)
				if failures++; failures > 3 {
					break
				}
			}
		}
	}
	if traps == 0 {
		t.Error("no exception was raised")
	}
	t.Logf("%d comparisons, %d exceptions", total, traps)
}
