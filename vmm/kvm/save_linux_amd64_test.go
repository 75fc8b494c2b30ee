package kvm

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nvlab/vmm"
)

// counting are guests that add one and tell of it, for ever.
var counting = []struct {
	name  string
	code  []byte
	tells int // a turn
}{
	{"a register and memory", []byte{
		0x48, 0xff, 0xc3, // 1: inc %rbx
		0x48, 0xff, 0x04, 0x25, 0x00, 0x90, 0x00, 0x00, // incq 0x9000
		0x48, 0x89, 0xd8, 0xe7, 0x80, // mov %rbx, %rax; out %eax, $0x80
		0x8b, 0x04, 0x25, 0x00, 0x90, 0x00, 0x00, 0xe7, 0x80, // mov 0x9000, %eax; out %eax, $0x80
		0xeb, 0xe5, // jmp 1b
	}, 2},
	{"a vector register and the x87 stack", []byte{
		0x0f, 0x20, 0xe0, 0x66, 0x0d, 0x00, 0x06, 0x0f, 0x22, 0xe0, // mov %cr4, %rax; or $0x600, %ax; mov %rax, %cr4
		0x0f, 0x57, 0xc0, // xorps %xmm0, %xmm0
		0x66, 0x0f, 0x76, 0xc9, // pcmpeqd %xmm1, %xmm1
		0xd9, 0xee, // fldz
		0x66, 0x0f, 0xfa, 0xc1, // 1: psubd %xmm1, %xmm0
		0xd9, 0xe8, 0xde, 0xc1, // fld1; faddp
		0x66, 0x0f, 0x7e, 0xc0, 0xe7, 0x80, // movd %xmm0, %eax; out %eax, $0x80
		0xdb, 0x14, 0x25, 0x08, 0x90, 0x00, 0x00, // fistl 0x9008
		0x8b, 0x04, 0x25, 0x08, 0x90, 0x00, 0x00, 0xe7, 0x80, // mov 0x9008, %eax; out %eax, $0x80
		0xeb, 0xe0, // jmp 1b
	}, 2},
}

// tells returns what the guest tells in its next n stores to a port. Each ends
// a Run.
func (g *guest) tells(t *testing.T, n int) (list []uint32) {
	t.Helper()
	g.out = func(_ uint16, _ int, v uint32) {
		list = append(list, v)
		g.Stop()
	}
	for range n {
		_, err := g.Run(context.Background(), g.Clock()+20*time.Second)
		var cannot *EmulationError
		if errors.As(err, &cannot) {
			t.Skip(err)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(list) != n {
		t.Fatalf("in %d runs the guest told %d times: %d", n, len(list), list)
	}
	return list
}

// TestSave saves processors between any two instructions that leave the guest,
// and goes on in others, and in the same.
func TestSave(t *testing.T) {
	for _, c := range counting {
		t.Run(c.name, func(t *testing.T) {
			g := newGuest(t, 1, c.code)
			for k := range 2*c.tells + 1 {
				state, err := g.Save()
				if err != nil {
					t.Fatal(err)
				}
				before, clock := bytes.Clone(g.mem), g.Clock()
				want := g.tells(t, 2*c.tells+1)
				if want[2] != want[0]+1 || want[3] != want[1]+1 {
					t.Fatalf("the guest tells %d, want two that count", want)
				}
				after := bytes.Clone(g.mem)
				other := newGuest(t, 1, nil)
				for _, to := range []struct {
					name string
					*guest
				}{{"other processors", other}, {"the same processors", g}} {
					copy(to.mem, before)
					if err := to.Load(state); err != nil {
						t.Fatal(err)
					}
					if to.Clock() != clock {
						t.Errorf("%s, save %d: the clock stands at %v, want %v", to.name, k, to.Clock(), clock)
					}
					if got := to.tells(t, len(want)); !slices.Equal(got, want) || !bytes.Equal(to.mem, after) {
						t.Errorf("%s, save %d: the guest tells %d, want %d; memory is as it was then: %v", to.name, k, got, want, bytes.Equal(to.mem, after))
					}
				}
				g.Load(state)
				copy(g.mem, before)
				g.tells(t, 1)
			}
		})
	}
}

// TestSavedCounter holds that a time-stamp counter goes on where it was saved.
func TestSavedCounter(t *testing.T) {
	g := newGuest(t, 1, stamp)
	needsCounter(t, g)
	first := g.tells(t, 1)[0]
	state, err := g.Save()
	if err != nil {
		t.Fatal(err)
	}
	const pause = 300 * time.Millisecond
	time.Sleep(pause)
	other := newGuest(t, 1, stamp)
	if err := other.Load(state); err != nil {
		t.Fatal(err)
	}
	ticks := uint64(other.tells(t, 1)[0] - first)
	if khz := (Engine{}).TSCKHz(); khz > 0 && ticks > khz*uint64(pause/time.Millisecond)/2 {
		t.Errorf("from a save to a load %v later the guest saw %d ticks of %d kHz", pause, ticks, khz)
	}
}

// TestLostEnd holds that the end of an interrupt which the state no longer
// shows is reported.
func TestLostEnd(t *testing.T) {
	g := newGuest(t, 1, spin)
	s := saved{Routes: []savedRoute{{Data: 0x31}, {Data: 0x52}, {Data: 0xff}}}
	apic := make([]byte, size(reqGetLAPIC))
	apic[0x100+0x10+2] = 1 << 1 // 0x31 is in service
	apic[0x200+0x70+3] = 1 << 7 // 0xff is requested
	c := savedCPU{Parts: make([][]byte, len(parts))}
	c.Parts[lapicPart] = apic
	s.CPUs = []savedCPU{c}
	var ended []uint8
	g.eoi = func(v uint8) { ended = append(ended, v) }
	g.endLost(s)
	if want := []uint8{0x52}; !slices.Equal(ended, want) {
		t.Errorf("the ends of vectors %#x are reported, want %#x", ended, want)
	}
}

// TestSaveFails has every request of Save and Load fail in turn.
func TestSaveFails(t *testing.T) {
	f := &fake{features: featureClock, fail: map[uint32]error{}}
	p := newFake(t, f).(*processors)
	if err := p.Start(vmm.Entry{}); err != nil {
		t.Fatal(err)
	}
	state, err := p.Save()
	if err != nil {
		t.Fatal(err)
	}
	try := func(request uint32, do func() error, name string) {
		f.fail[request] = unix.ENOMEM
		defer delete(f.fail, request)
		if err := do(); !errors.Is(err, unix.ENOMEM) {
			t.Errorf("%s where request %#x fails = %v, want %q", name, request, err, unix.ENOMEM)
		}
	}
	try(reqMSRIndexList, func() error { _, err := p.Save(); return err }, "Save")
	try(reqSetRouting, func() error { return p.Load(state) }, "Load")
	for _, part := range parts {
		try(part.get, func() error { _, err := p.Save(); return err }, "Save")
		try(part.set, func() error { return p.Load(state) }, "Load")
	}
	for _, bad := range []string{"", "{}", `{"CPUs":[{}]}`, `{"CPUs":[{"Parts":["","","","","","","",""]}]}`, `{"CPUs":[{},{}]}`} {
		if err := p.Load([]byte(bad)); err == nil {
			t.Errorf("Load(%q) succeeded", bad)
		}
	}
	if err := p.Load(state); err != nil {
		t.Errorf("Load of what Save gave = %v", err)
	}
	for _, part := range parts {
		if part.needs == 0 {
			continue
		}
		f.lacks = part.needs
		want := "the host's KVM has no KVM_GET_" + part.name
		if _, err := p.Save(); err == nil || err.Error() != want {
			t.Errorf("Save without a capability = %v, want %s", err, want)
		}
	}
}
