package soft

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"nvlab/vmm"
	"nvlab/vmm/observe"
	"nvlab/vmm/soft/x86"
)

// poisoned is a Watch of lines.
func poisoned(lines ...uint64) *observe.Watch {
	w := &observe.Watch{}
	for _, at := range lines {
		w.Add(at)
	}
	return w
}

// checked readies a machine for the next machine check.
func checked(c *cpu) {
	c.cr4 |= x86.CR4MCE
	c.msr.mcgStatus = 0
	for i := range c.msr.mcBanks {
		c.msr.mcBanks[i].status = 0
	}
}

// TestPoisonRestart has every encoding that accesses memory access a poisoned
// line, within it, across to it and across a page, as a program and as a kernel:
// by the executor, the fast path and compiled. Those that load from the line, as is told where it is
// watched and not poisoned, raise a machine check that leaves no trace, and once
// the line is well do what they do without; the others do that at once.
func TestPoisonRestart(t *testing.T) {
	t.Parallel()
	interpreter := newTestMachineWith(t, Engine{Interpreter: true})
	stages := []*faultStage{{m: interpreter, exact: true, name: "executor"}, {m: interpreter, name: "fast path"}, {m: newCompiled(t), name: "compiled code"}}
	for _, s := range stages[1:] {
		s.m.stubs()
		for v := range 256 {
			s.m.gate(uint8(v), testStubs+16*uint64(v), 0, 1)
		}
		x86.PutLE(s.m.ram[testTSS+36:], 8, testStack-0x4000)
		s.m.c.cr0 |= x86.CR0WP
		s.m.p.mem.find(faultSecond).observed = true
	}
	const present = pteP | pteW | pteU | pteA | pteD
	r := rand.New(rand.NewPCG(5, 6))
	bitten, whole, borders, levels := 0, 0, [2]int{}, [2]int{}
	for _, e := range allEncodings() {
		if !e.reachesMemory() || !e.survives() {
			continue
		}
		for n := range 12 {
			code, in := e.instance(r)
			if in.Len == 0 || e.mem && in.Base == x86.SlotZero || in.Seg == x86.SegGS {
				continue
			}
			to := faultTarget(r, &e, uint64(n))
			border := uint64(faultSecond)
			if n&4 != 0 { // of lines, in one page
				to, border = to+128, border+128
			}
			line := border - 64*uint64(r.IntN(2))
			if in.Op >= 0xa0 && in.Op <= 0xa3 {
				x86.PutLE(code[int(in.Len)-int(in.AddressSize):], in.AddressSize, to)
			}
			for _, s := range stages[1:] {
				clear(s.m.ram[testCode : testCode+64])
				s.m.put(testCode, code...)
				s.m.ram[testCode+len(code)] = 0xf4
				s.m.p.Wrote(testCode, 64)
			}
			st := faultBefore(r, interpreter.c, &e, &in, uint64(n), to)
			level := r.IntN(2)
			for _, s := range stages {
				s.user = level == 1
			}
			o := &told{}
			if err := stages[0].m.p.WatchLoads(poisoned(line), o); err != nil {
				t.Fatal(err)
			}
			if vec := stages[0].run(&st, present); vec >= 0 {
				stages[0].m.p.WatchLoads(nil, nil)
				continue // another exception, or no instruction
			}
			want := stages[0].state()
			stages[0].m.p.WatchLoads(nil, nil)
			loads := len(o.lines) > 0
			for _, s := range stages {
				where := fmt.Sprintf("%v, % x, at %+d with a line at %+d, in the %s", &e, code, int64(to-border), int64(line-border), s.name)
				stopsBefore(t, s, where, line, loads, &st, &want)
				var consumed []uint64
				s.m.p.Poison(poisoned(line), func(addr uint64, reported bool) {
					if !reported {
						t.Errorf("%v, % x, in the %s: the machine check was not reported", &e, code, s.name)
					}
					consumed = append(consumed, addr)
				})
				checked(s.m.c)
				vec := s.run(&st, present)
				s.m.p.Poison(nil, nil)
				got := s.state()
				if !loads {
					if d := got.differ(&want); vec >= 0 || d != "" {
						t.Fatalf("%s: it does not load from the line, and ends in exception %d; %s", where, vec, d)
					}
					whole++
					continue
				}
				if vec != excMC {
					t.Fatalf("%s: it loads from the line, and ends in exception %d", where, vec)
				}
				bitten++
				borders[n>>2&1]++
				levels[level]++
				if d := got.differ(&st); d != "" {
					t.Fatalf("%s: after the machine check %s", where, d)
				}
				bank := s.m.c.msr.mcBanks[mcNorthbridge]
				if len(consumed) != 1 || consumed[0]&^63 != line || bank.addr != consumed[0] || bank.status != 0xb400000000080813 || s.m.c.msr.mcgStatus != 7 || s.m.c.rip != testCode {
					t.Fatalf("%s: rip %#x, MCG_STATUS %#x, status %#x, address %#x, told of %#x", where, s.m.c.rip, s.m.c.msr.mcgStatus, bank.status, bank.addr, consumed)
				}
				if vec := s.run(&got, present); vec >= 0 {
					t.Fatalf("%s: begun anew it ends in exception %d", where, vec)
				}
				end := s.state()
				if d := end.differ(&want); d != "" {
					t.Fatalf("%s: begun anew %s", where, d)
				}
			}
		}
	}
	t.Logf("%d machine checks, %d of them across lines, %d in programs, %d instructions that did not load", bitten, borders[1], levels[1], whole)
	if borders[0] < 5000 || borders[1] < 2000 || levels[0] < 5000 || levels[1] < 5000 || whole < 2000 {
		t.Errorf("%v machine checks at page and line borders, %v in kernel and programs, and %d instructions that did not load: too few to tell", borders, levels, whole)
	}
}

// TestPoisonInStrings: a repeated string instruction does the elements before the
// bad line, and stops with its registers at the first that is in it, in kernel
// and in user mode.
func TestPoisonInStrings(t *testing.T) {
	const src, dst = testData, testData + 4*x86.PageSize
	for _, tt := range []struct {
		name string
		code []byte
		line uint64
		n    uint64 // elements before it
	}{
		{"rep movsb", []byte{0xf3, 0xa4}, src + 192, 192},
		{"rep movsb, the first byte", []byte{0xf3, 0xa4}, src, 0},
		{"rep movsb, in the next page", []byte{0xf3, 0xa4}, src + x86.PageSize + 64, x86.PageSize + 64},
		{"rep movsq", []byte{0xf3, 0x48, 0xa5}, src + 192, 24},
		{"rep movsd", []byte{0xf3, 0xa5}, src + 192, 48},
		{"rep movsb, down", []byte{0xfd, 0xf3, 0xa4}, src - 128, 65},
		{"rep lodsb", []byte{0xf3, 0xac}, src + 64, 64},
		{"repe cmpsb", []byte{0xf3, 0xa6}, src + 128, 128},
		{"repe cmpsb, its second operand", []byte{0xf3, 0xa6}, dst + 128, 128},
		{"repe scasb", []byte{0xf3, 0xae}, dst + 64, 64},
		{"rep stosb does not load", []byte{0xf3, 0xaa}, dst + 64, 6000},
	} {
		for _, user := range []bool{false, true} {
			for _, tier := range []string{"executor", "interpreter", "compiler"} {
				m := newTestMachineWith(t, Engine{Interpreter: tier != "compiler"})
				m.p.exact = tier == "executor"
				if m.p.cache.native != nil {
					m.p.cache.heat = 2
				}
				m.stubs()
				checked(m.c)
				m.put(testCode, append(tt.code, 0xf4)...)
				m.c.r[x86.RCX], m.c.r[x86.RSI], m.c.r[x86.RDI] = 6000, src, dst
				for i := range uint64(3 * x86.PageSize) {
					m.ram[src+i] = byte(i * 7)
				}
				if tt.code[len(tt.code)-1] == 0xa6 { // equal operands
					copy(m.ram[dst:dst+3*x86.PageSize], m.ram[src:])
				}
				if tt.code[len(tt.code)-1] == 0xae {
					clear(m.ram[dst : dst+3*x86.PageSize])
				}
				if user {
					m.c.seg[x86.SegCS] = segment{sel: 0x2b, attr: attrCode64 | 0x60, limit: ^uint32(0)}
					m.c.seg[x86.SegSS] = segment{sel: 0x23, attr: attrData | 0x60, limit: ^uint32(0)}
					m.c.setCPL(3)
				}
				m.p.Poison(poisoned(tt.line), nil)
				where := fmt.Sprintf("%s by the %s, user %v", tt.name, tier, user)
				vec := m.run()
				if tt.n == 6000 {
					if want := map[bool]int{false: -1, true: excGP}[user]; vec != want || m.c.r[x86.RCX] != 0 {
						t.Errorf("%s: vector %d, %d elements are left, want all done", where, vec, m.c.r[x86.RCX])
					}
					continue
				}
				if vec != excMC {
					t.Errorf("%s: vector %d, want %d", where, vec, excMC)
					continue
				}
				rip := uint64(testCode)
				if tt.code[0] == 0xfd {
					rip++
				}
				if got := m.c.r[x86.RCX]; got != 6000-tt.n || m.word(m.c.r[x86.RSP]) != rip {
					t.Errorf("%s: %d elements were done and the saved rip is %#x, want %d and %#x", where, 6000-got, m.word(m.c.r[x86.RSP]), tt.n, rip)
				}
				if tt.name == "rep movsb" && (string(m.ram[dst:dst+192]) != string(m.ram[src:src+192]) || m.ram[dst+192] != 0) {
					t.Errorf("%s: the destination is not the source's first 192 bytes", where)
				}
			}
		}
	}
}

// TestPoisonedCode: an instruction in a bad line is not executed, one before it
// is; a page table in one is not walked.
func TestPoisonedCode(t *testing.T) {
	for _, tier := range []string{"executor", "interpreter", "compiler"} {
		for at := range 8 {
			m := newTestMachineWith(t, Engine{Interpreter: tier != "compiler"})
			m.p.exact = tier == "executor"
			if m.p.cache.native != nil {
				m.p.cache.heat = 2
			}
			m.stubs()
			checked(m.c)
			// A loop in the line before: it is hot before the line goes bad.
			code := []byte{0xb9, 40, 0, 0, 0, 0xff, 0xc9, 0x75, 0xfc} // mov ecx, 40; dec ecx; jnz
			start := uint64(testCode + 64 - len(code) - at)
			m.put(start, code...)
			for i := range at {
				m.ram[testCode+64-at+i] = 0x90
			}
			m.put(testCode+64, 0x48, 0xff, 0xc3, 0xf4) // inc rbx; hlt
			m.c.r[x86.RBX] = 0
			m.c.rip = start
			if vec := m.run(); vec >= 0 || m.c.r[x86.RBX] != 1 {
				t.Fatalf("%s: vector %d, rbx %d", tier, vec, m.c.r[x86.RBX])
			}
			for round := range 2 {
				m.p.Poison(poisoned(testCode+64), nil)
				m.c.rip, m.c.halted, m.c.r[x86.RSP] = start, false, testStack
				m.p.stopping = false
				checked(m.c)
				if vec := m.run(); vec != excMC || m.c.r[x86.RBX] != uint64(1+round) || m.c.r[x86.RCX] != 0 || m.word(m.c.r[x86.RSP]) != testCode+64 {
					t.Errorf("%s, %d before, round %d: vector %d with rbx %d and rip %#x, want %d, %d and %#x", tier, at, round, vec, m.c.r[x86.RBX], m.word(m.c.r[x86.RSP]), excMC, 1+round, testCode+64)
				}
				m.p.Poison(nil, nil)
				m.c.rip, m.c.halted, m.c.r[x86.RSP] = start, false, testStack
				if vec := m.run(); vec >= 0 || m.c.r[x86.RBX] != uint64(2+round) {
					t.Errorf("%s: once the line is well: vector %d, rbx %d", tier, vec, m.c.r[x86.RBX])
				}
			}
			m.p.Close()
		}
	}
	m := newTestMachine(t)
	m.stubs()
	checked(m.c)
	m.mapPage(window, testData, pteP|pteW)
	m.put(testCode, append(le32([]byte{0x8b, 0x04, 0x25}, window), 0xf4)...)
	entry := m.entryAt(window)
	at := uint64(0)
	for i := uint64(0); i < uint64(len(m.ram)); i += 8 {
		if &m.ram[i] == &entry[0] {
			at = i
		}
	}
	m.p.Poison(poisoned(at), nil)
	m.c.flushTLB(false)
	if vec := m.run(); vec != excMC || m.c.msr.mcBanks[mcNorthbridge].addr != at {
		t.Errorf("a walk through a bad line: vector %d with address %#x, want %d and %#x", vec, m.c.msr.mcBanks[mcNorthbridge].addr, excMC, at)
	}
}

// TestPoisonOnTwoProcessors: each has its own banks, and the other goes on.
func TestPoisonOnTwoProcessors(t *testing.T) {
	for seed := range uint64(4) {
		m := newTestPair(t, Engine{}, seed)
		var consumed []uint64
		const bad = testData + 0x1000
		m.p.Poison(poisoned(bad, bad+64), func(addr uint64, reported bool) { consumed = append(consumed, addr) })
		// The handler counts, and steps over the load of 8 bytes.
		m.gate(excMC, testCode+0x800, 0, 0)
		m.put(testCode+0x800,
			0xf0, 0x48, 0xff, 0x05, 0, 0, 0, 0, // lock inc qword [rip+...]
			0xb9, 0x7a, 0x01, 0, 0, 0x31, 0xc0, 0x31, 0xd2, 0x0f, 0x30, // MCG_STATUS = 0
			0x48, 0x83, 0x04, 0x24, 8, 0x48, 0xcf) // add qword [rsp], 8; iretq
		binary.LittleEndian.PutUint32(m.ram[testCode+0x804:], testData-testCode-0x808)
		m.p.machineChecks = true
		load := func(addr uint32, n byte) []byte {
			code := []byte{0x41, 0xbb, n, 0, 0, 0}                             // mov r11d, n
			code = append(code, le32([]byte{0x48, 0x8b, 0x1c, 0x25}, addr)...) // again: mov rbx, [addr]
			return append(code, 0x41, 0xff, 0xcb, 0x75, 0xf3, 0xfa, 0xf4)      // dec r11d; jnz again; cli; hlt
		}
		m.put(testCode, append(append([]byte{}, wakeSecond...), load(bad, 50)...)...)
		m.put(testSecond, load(bad+64, 60)...)
		for _, c := range m.p.cpus {
			checked(c)
		}
		if exit, err := m.p.Run(context.Background(), 10*time.Millisecond); err != nil || exit != vmm.ExitDead {
			t.Fatalf("Run = %v, %v", exit, err)
		}
		if m.word(testData) != 110 || len(consumed) != 110 {
			t.Errorf("seed %d: %d machine checks were handled and %d told of, want 110", seed, m.word(testData), len(consumed))
		}
		for i, c := range m.p.cpus {
			b := c.msr.mcBanks[mcNorthbridge]
			if b.addr != bad+64*uint64(i) || b.status != 0xf400000000080813 {
				t.Errorf("seed %d: CPU %d has address %#x and status %#x, want %#x and an overflow", seed, i, b.addr, b.status, bad+64*i)
			}
		}
		m.p.Close()
	}
}

// TestMachineCheckRegisters: what software sees of the banks, what shuts the
// processor down, and that snapshots carry them.
func TestMachineCheckRegisters(t *testing.T) {
	m := newTestMachineOf(t, Engine{}, vmm.ProcessorSpec{Count: 1, MachineCheck: true})
	c := m.c
	for _, tt := range []struct {
		msr       uint32
		write     uint64
		ok        bool
		read      uint64
		readsThen bool
	}{
		{msrMCGCap, 1, false, mcBanks, true},
		{msrMCGStatus, 0xff, true, 7, true},
		{0x17b, 0, false, 0, false}, // MCG_CTL: MCG_CAP does not have it
		{0x410, ^uint64(1 << 10), true, ^uint64(1 << 10), true},
		{0x411, 1, false, 0, true},
		{0x411, 0, true, 0, true},
		{0x412, 5, true, 5, true},
		{0x413, 1 << 63, true, 0, true},
		{0x414, 0, false, 0, false}, // a bank more
	} {
		if ok := c.writeMSR(tt.msr, tt.write); ok != tt.ok {
			t.Errorf("WRMSR(%#x, %#x) is done: %v, want %v", tt.msr, tt.write, ok, tt.ok)
		}
		if v, ok := c.readMSR(tt.msr); ok != tt.readsThen || v != tt.read {
			t.Errorf("RDMSR(%#x) = %#x, %v, want %#x, %v", tt.msr, v, ok, tt.read, tt.readsThen)
		}
	}
	saved, err := m.p.Save()
	if err != nil {
		t.Fatal(err)
	}
	was := c.msr
	c.msr = msrs{}
	if err := m.p.Load(saved); err != nil || c.msr != was {
		t.Errorf("the banks that were loaded are %+v, %v, want %+v", c.msr, err, was)
	}
	if plain := newTestMachine(t); plain.c.writeMSR(msrMCGStatus, 0) {
		t.Error("a processor without machine checks has MCG_STATUS")
	}
	for _, tt := range []struct {
		name string
		set  func(*cpu)
	}{
		{"machine checks are off", func(c *cpu) { c.cr4 &^= x86.CR4MCE }},
		{"one is being handled", func(c *cpu) { c.msr.mcgStatus = mcgMCIP }},
	} {
		m := newTestMachine(t)
		m.stubs()
		checked(m.c)
		tt.set(m.c)
		reports := 0
		m.p.Poison(poisoned(testData), func(addr uint64, reported bool) {
			if !reported && addr == testData+8 {
				reports++
			}
		})
		m.put(testCode, append(le32([]byte{0x8b, 0x04, 0x25}, testData+8), 0xf4)...)
		if exit, err := m.p.Run(t.Context(), time.Second); err != nil || exit != vmm.ExitTripleFault || reports != 1 {
			t.Errorf("%s: Run = %v, %v, with %d reports that it is lost, want a shutdown and 1", tt.name, exit, err, reports)
		}
	}
}
