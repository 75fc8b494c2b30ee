package soft

import (
	"context"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/pprof"
	"sync"
	"testing"
	"time"

	"nvlab/internal/require"
	"nvlab/vmm/soft/internal/native"
	"nvlab/vmm/soft/x86"
)

// newCompiled is a test machine that compiles blocks the first time.
func newCompiled(t testing.TB) *testMachine {
	t.Helper()
	m := newTestMachine(t)
	m.compileAll()
	return m
}

func (m *testMachine) compileAll() {
	m.t.Helper()
	b := m.p.cache
	if b.native == nil {
		b.compile()
	}
	if b.noNative != nil {
		require.Missing(m.t, "JIT", "nothing is compiled here: %v", b.noNative)
	}
	b.heat = 0
	m.t.Cleanup(func() { m.p.Close() })
}

// agree runs code interpreted and compiled, with a timer ticking, and compares.
func agree(t *testing.T, pair *[2]*testMachine, code []byte, seed uint64, setup ...func(*testMachine)) {
	var states [2]State
	for i, m := range pair {
		m.reset(t)
		m.stubs()
		m.hashFlags()
		m.tick()
		r := rand.New(rand.NewPCG(seed, 9))
		for i := range 16 {
			if i != x86.RSP {
				m.c.r[i] = interesting(r)
				if r.IntN(2) == 0 {
					m.c.r[i] = testData + uint64(r.IntN(2*x86.PageSize))
				}
			}
		}
		for i := range 16 {
			m.c.fpu.xmm[i] = interestingVec(r)
		}
		mxcsr := x86.MXCSRReset | uint32(r.IntN(4))<<13
		switch r.IntN(6) {
		case 0:
			mxcsr |= 0x8040 // FZ, DAZ
		case 1:
			mxcsr &^= uint32(r.IntN(64)) << 7
		}
		m.c.setMXCSR(mxcsr)
		m.c.setRFLAGS(r.Uint64()&x86.FlagsArith | x86.FlagIF)
		for _, f := range setup {
			f(m)
		}
		at := copy(m.ram[testCode:], code)
		m.put(testCode+uint64(at), append([]byte{0xe9}, le32(nil, uint32(-at-5))...)...)
		if _, err := m.p.Run(context.Background(), 6000); err != nil {
			t.Fatalf("Run() of % x: %v", code, err)
		}
		states[i] = m.c.state()
	}
	a, b := pair[0], pair[1]
	if states[0] != states[1] {
		t.Fatalf("% x with seed %d: interpreted and compiled end in\n%s", code, seed, states[0].Differ(states[1]))
	}
	if i := ramMismatch(a.ram, b.ram); i >= 0 {
		t.Fatalf("% x with seed %d: memory at %#x differs: %x interpreted, %x compiled", code, seed, i, a.ram[i&^7:][:8], b.ram[i&^7:][:8])
	}
}

// hashFlags makes handlers that mix the flags of what they interrupt into a
// word of memory, and then go on: after a fault, one byte on.
func (m *testMachine) hashFlags() {
	const hash, sum = testStubs + 0x1000, testEnd - 8
	code := []byte{0x50, 0x8b, 0x44, 0x24, 0x18, 0x33, 0x04, 0x25} // push rax; mov eax, [rsp+24]; xor eax, [sum]
	code = append(le32(code, sum), 0x69, 0xc0)                     // imul eax, eax, imm
	code = append(le32(code, 0x9e3779b1), 0x89, 0x04, 0x25)        // mov [sum], eax
	code = append(le32(code, sum), 0x58, 0x48, 0xcf)               // pop rax; iretq
	m.put(hash, code...)
	for v := range 256 {
		at, stub := testStubs+16*v, []byte(nil)
		switch v {
		case excDF, excTS, excNP, excSS, excGP, excPF, excAC:
			stub = []byte{0x48, 0x83, 0xc4, 0x08, 0x48, 0x83, 0x04, 0x24, 0x01} // add rsp, 8; add qword [rsp], 1
		}
		stub = append(stub, 0xe9) // jmp hash
		m.put(uint64(at), le32(stub, uint32(hash-at-len(stub)-4))...)
	}
}

// interpretedAndCompiled are machines for agree.
func interpretedAndCompiled(t testing.TB) *[2]*testMachine {
	return &[2]*testMachine{newTestMachineWith(t, Engine{Interpreter: true}), newCompiled(t)}
}

// randomCode is random instructions.
func randomCode(r *rand.Rand, encodings []encoding, n int) (code []byte) {
	for len(code) < n {
		b, _ := encodings[r.IntN(len(encodings))].instance(r)
		code = append(code, b...)
	}
	return code
}

// scalarEncodings are those that compiled code knows best.
func scalarEncodings() (list []encoding) {
	for _, e := range usualEncodings() {
		if e.kind() == native.Plain {
			list = append(list, e)
		}
	}
	return list
}

// agreeOnEncodings runs n programs each of the usual and of the scalar
// encodings, interpreted and compiled.
func agreeOnEncodings(t *testing.T, pair *[2]*testMachine, r *rand.Rand, n int, program func(r *rand.Rand, list []encoding, n int) []byte) {
	for _, list := range [][]encoding{usualEncodings(), scalarEncodings()} {
		for range n {
			agree(t, pair, program(r, list, 20+r.IntN(150)), r.Uint64())
		}
	}
}

// TestCompiledLockstep runs random programs interpreted and compiled.
func TestCompiledLockstep(t *testing.T) {
	t.Parallel()
	n := 150
	if !testing.Short() {
		n = 2000
	}
	pair := interpretedAndCompiled(t)
	r := rand.New(rand.NewPCG(17, 18))
	agreeOnEncodings(t, pair, r, n, randomCode)
	if s := pair[1].p.cache.native.Stats(); s.Blocks == 0 || s.Entries == 0 {
		t.Errorf("%d blocks were compiled and %d times entered, want more than 0", s.Blocks, s.Entries)
	}
}

func FuzzCompiled(f *testing.F) {
	r := rand.New(rand.NewPCG(19, 20))
	for range 20 {
		f.Add(randomCode(r, scalarEncodings(), 100), r.Uint64())
	}
	for range 5 {
		f.Add(x87Code(r, 100), r.Uint64())
	}
	pair := interpretedAndCompiled(f)
	f.Fuzz(func(t *testing.T, code []byte, seed uint64) {
		if len(code) <= 256 {
			agree(t, pair, code, seed)
		}
	})
}

// TestCompiledSelfModifying has a loop that changes an instruction of a
// function it calls, many times, within the page and from another.
func TestCompiledSelfModifying(t *testing.T) {
	for _, far := range []bool{false, true} {
		m := newCompiled(t)
		m.stubs()
		f := uint64(testCode + 0x40)
		if far {
			f = testData
		}
		// mov ecx, 200; L: mov [f+1], cl; call f; sub ecx, 1; jne L; hlt
		code := []byte{0xb9, 200, 0, 0, 0, 0x88, 0x0c, 0x25}
		code = le32(code, uint32(f+1))
		code = append(code, 0xe8)
		code = le32(code, uint32(f-(testCode+uint64(len(code))+4)))
		code = append(code, 0x83, 0xe9, 0x01, 0x75, 0xef, 0xf4)
		m.put(testCode, code...)
		m.put(f, 0xb0, 0, 0x0f, 0xb6, 0xc0, 0x48, 0x01, 0xc3, 0xc3) // mov al, imm; movzx eax, al; add rbx, rax; ret
		m.run()
		if want := uint64(200 * 201 / 2); m.c.r[x86.RBX] != want {
			t.Errorf("far=%v: the sum of what the function returned is %d, want %d", far, m.c.r[x86.RBX], want)
		}
	}
}

func le32(b []byte, v uint32) []byte {
	return append(b, byte(v), byte(v>>8), byte(v>>16), byte(v>>24))
}

// TestCompiledStress runs compiled loops under the profiler while the collector
// and the scheduler work, and checks what the loops compute.
func TestCompiledStress(t *testing.T) {
	d := 2 * time.Second
	if s := os.Getenv("NVLAB_STRESS"); s != "" {
		var err error
		if d, err = time.ParseDuration(s); err != nil {
			t.Fatal(err)
		}
	} else if testing.Short() {
		d = 200 * time.Millisecond
	}
	if pprof.StartCPUProfile(io.Discard) == nil {
		defer pprof.StopCPUProfile()
	}
	stop := make(chan bool)
	var wg sync.WaitGroup
	wg.Go(func() {
		var sink [][]byte
		for {
			select {
			case <-stop:
				return
			default:
			}
			sink = append(sink[:len(sink)%100], make([]byte, 1<<16))
			runtime.GC()
		}
	})
	machines := make([]*testMachine, 3)
	for i := range machines {
		machines[i] = newCompiled(t)
	}
	for _, m := range machines {
		wg.Go(func() {
			// add rax, 3; push rax; pop rdx; lea rcx, [rcx+rdx]; jmp
			m.put(testCode, 0x48, 0x83, 0xc0, 0x03, 0x50, 0x5a, 0x48, 0x8d, 0x0c, 0x11, 0xeb, 0xf4)
			until := uint64(0)
			for {
				select {
				case <-stop:
					return
				default:
				}
				until += 5 * 100_000
				if _, err := m.p.Run(context.Background(), time.Duration(until)); err != nil {
					t.Error(err)
					return
				}
				n := until / 5
				if rax, rcx := m.c.r[x86.RAX], m.c.r[x86.RCX]; rax != 3*n || rcx != 3*(n/2*(n+1)) {
					t.Errorf("after %d turns rax = %d, rcx = %d, want %d and %d", n, rax, rcx, 3*n, 3*(n/2*(n+1)))
					return
				}
			}
		})
	}
	time.Sleep(d)
	close(stop)
	wg.Wait()
}
