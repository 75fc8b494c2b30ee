package vmm_test

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"nvlab/acpi"
	"nvlab/acpi/acpitest"
	"nvlab/vmm"
	"nvlab/vmm/boot"
	"nvlab/vmm/soft"
)

func TestLayout(t *testing.T) {
	const mib, gib = 1 << 20, 1 << 30
	for _, c := range []struct {
		memory, low, high, device uint64
	}{
		{32 * mib, 32 * mib, 0, 4 * gib},
		{3 * gib, 3 * gib, 0, 4 * gib},
		{3*gib + mib, 3 * gib, mib, 5 * gib},
		{4 * gib, 3 * gib, gib, 5 * gib},
		{8*gib + mib, 3 * gib, 5*gib + mib, 10 * gib},
	} {
		l := vmm.NewLayout(c.memory, 0)
		want := vmm.Layout{
			Low:          vmm.Range{Base: 0, Size: c.low},
			High:         vmm.Range{Base: 4 * gib, Size: c.high},
			ACPI:         vmm.Range{Base: c.low - mib - 64<<10, Size: mib},
			Reserved:     vmm.Range{Base: c.low - 64<<10, Size: 32 << 10},
			Parking:      vmm.Range{Base: c.low - 32<<10, Size: 32 << 10},
			Devices:      vmm.Range{Base: 0xd800_0000, Size: 64 * mib},
			DeviceMemory: c.device,
			AddressLimit: 1 << 40,
		}
		if l != want {
			t.Errorf("NewLayout(%d MiB) = %v, want %v", c.memory/mib, l, want)
		}
	}
}

func TestConfigErrors(t *testing.T) {
	k, err := boot.Load("testdata/guest.elf")
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	for _, c := range []struct {
		name string
		edit func(*vmm.Config, *vmm.Payload)
		want string
	}{
		{"little memory", func(c *vmm.Config, p *vmm.Payload) { c.Memory = 31 << 20 }, "memory of 32505856 bytes: want a multiple of 1 MiB from 32 MiB to 1023 GiB"},
		{"odd memory", func(c *vmm.Config, p *vmm.Payload) { c.Memory += 4096 }, "want a multiple of 1 MiB"},
		{"much memory", func(c *vmm.Config, p *vmm.Payload) { c.Memory = 1 << 50 }, "want a multiple of 1 MiB"},
		{"few address bits", func(c *vmm.Config, p *vmm.Payload) { c.PhysBits = 35 }, "35 physical address bits: want 36 to 52"},
		{"memory beyond the address bits", func(c *vmm.Config, p *vmm.Payload) { c.Memory, c.PhysBits = 64<<30, 36 }, "want a multiple of 1 MiB from 32 MiB to 63 GiB: the nearest is 64512 MiB"},
		{"no kernel", func(c *vmm.Config, p *vmm.Payload) { p.Kernel = nil }, "a machine boots a kernel: there is none"},
		{"no engine", func(c *vmm.Config, p *vmm.Payload) { c.Engine = nil }, "a machine needs an engine"},
		{"no CPUs", func(c *vmm.Config, p *vmm.Payload) { c.CPUs = -1 }, "-1 CPUs: want 1 to 254"},
		{"many CPUs", func(c *vmm.Config, p *vmm.Payload) { c.CPUs = 255 }, "255 CPUs: want 1 to 254"},
		{"many events", func(c *vmm.Config, p *vmm.Payload) { c.Events = make([]vmm.Event, 32) }, "32 ACPI events: at most 30"},
		{"many slots", func(c *vmm.Config, p *vmm.Payload) { c.Slots = 257 }, "257 memory slots: want 0 to 256"},
		{"bad path", func(c *vmm.Config, p *vmm.Payload) { c.Events = []vmm.Event{{Path: "not a path"}} }, "DSDT: "},
		{"bad table", func(c *vmm.Config, p *vmm.Payload) { p.Tables = [][]byte{[]byte("SSDT")} }, "ACPI tables: "},
		{"large tables", func(c *vmm.Config, p *vmm.Payload) {
			p.Tables = [][]byte{acpi.Header{}.Table("SSDT", 2, make([]byte, 1<<20))}
		}, "at most 1043968 fit"},
		{"large initramfs", func(c *vmm.Config, p *vmm.Payload) { p.Initrd, p.InitrdSize = bytes.NewReader(nil), 1<<30 },
			"the initramfs does not fit in memory: it has 1024 MiB, and behind the kernel 14 MiB are free of 30 MiB usable"},
		{"long command line", func(c *vmm.Config, p *vmm.Payload) { p.Cmdline = strings.Repeat("x", 3000) }, "the kernel command line has 3000 bytes"},
	} {
		cfg, payload := vmm.Config{Memory: 32 << 20, Engine: soft.Engine{}}, vmm.Payload{Kernel: k}
		c.edit(&cfg, &payload)
		m, err := vmm.Assemble(cfg)
		if err == nil {
			err = m.Boot(payload)
			m.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error = %v, want one with %q", c.name, err, c.want)
		}
	}
}

func TestTables(t *testing.T) {
	ssdt := acpi.Header{OEMID: "X"}.Table("SSDT", 2, nil)
	p := newPC(t, soft.Engine{}, "p", func(c *vmm.Config, p *vmm.Payload) { p.Tables = [][]byte{ssdt} })
	var got []string
	for _, table := range p.Tables() {
		got = append(got, string(table[:4]))
		if acpi.Sum(table) != 0 {
			t.Errorf("the checksum of %s is wrong", table[:4])
		}
	}
	if want := "FACP APIC SSDT DSDT"; strings.Join(got, " ") != want {
		t.Errorf("tables = %v, want %s", got, want)
	}
	fadt, err := acpi.ParseFADT(p.Tables()[0])
	if err != nil {
		t.Fatal(err)
	}
	l := p.Layout()
	if fadt.XDSDT < l.ACPI.Base || fadt.XDSDT >= l.ACPI.End() {
		t.Fatalf("the DSDT is at %#x, want it in %v", fadt.XDSDT, l.ACPI)
	}
	// The guest finds each table as Tables gives it.
	area := make([]byte, l.ACPI.Size)
	if _, err := p.Memory().ReadAt(area, int64(l.ACPI.Base)); err != nil {
		t.Fatal(err)
	}
	for _, table := range p.Tables() {
		if !bytes.Contains(area, table) {
			t.Errorf("%s in memory is not the one of Tables", table[:4])
		}
		r, ok := p.TableAt(string(table[:4]))
		if dsdt := string(table[:4]) == "DSDT"; ok == dsdt {
			t.Errorf("%s is found by its signature: %v, want %v", table[:4], ok, !dsdt)
		} else if ok && !bytes.Equal(area[r.Base-l.ACPI.Base:][:r.Size], table) {
			t.Errorf("%s is not at %v", table[:4], r)
		}
	}
	if rsdp, err := acpi.ParseRSDP(area); err != nil || rsdp.XSDTAddress == 0 {
		t.Errorf("RSDP = %+v, %v", rsdp, err)
	}
}

// TestDSDT has iasl decompile and compile the DSDT, and acpiexec take events.
func TestDSDT(t *testing.T) {
	p := newPC(t, soft.Engine{}, "p", func(c *vmm.Config, p *vmm.Payload) { c.Events = []vmm.Event{{Path: `\_SB.NVDR`, Value: 0x80}} })
	tables := p.Tables()
	dsdt := tables[len(tables)-1]
	source, _ := acpitest.Recompile(t, dsdt)
	for _, want := range []string{"PNP0501", "ACPI0013", "LNRO0005", `Notify (\_SB.NVDR, 0x80)`, `Name (\_S5`} {
		if !strings.Contains(source, want) {
			t.Errorf("the DSDT does not hold %s:\n%s", want, source)
		}
	}
	acpitest.Exec(t, []string{`evaluate \_SB.GED._EVT 9`, `evaluate \_SB.VIO0._CRS`}, dsdt)
}

// TestPCI: the tables of a machine with a PCI bus tell of it, those of others
// do not, and the host bridge's methods run.
func TestPCI(t *testing.T) {
	plain := newPC(t, soft.Engine{}, "p").Tables()
	with := newPC(t, soft.Engine{}, "p", func(c *vmm.Config, p *vmm.Payload) {
		c.PCI, c.Events = true, []vmm.Event{{Path: `\_SB.PCI0`, Value: 0}}
	}).Tables()
	dsdt := with[len(with)-1]
	if bytes.Contains(plain[len(plain)-1], []byte("PCI0")) || !bytes.Contains(dsdt, []byte("PCI0")) {
		t.Error("the host bridge is to be in the DSDT of the machine that has one only")
	}
	var mcfg *acpi.MCFG
	for _, table := range with {
		if m, err := acpi.ParseMCFG(table); err == nil {
			mcfg = &m
		}
	}
	want := acpi.ConfigSpace{Base: 0xe000_0000, EndBus: 15}
	if mcfg == nil || len(mcfg.Segments) != 1 || mcfg.Segments[0] != want {
		t.Errorf("the MCFG is %+v, want one of %+v", mcfg, want)
	}
	fadt, err := acpi.ParseFADT(with[0])
	if err != nil || fadt.BootFlags&acpi.BootNoMSI != 0 {
		t.Errorf("with a PCI bus the FADT's boot flags are %#x (%v): MSI is to be allowed", fadt.BootFlags, err)
	}
	acpitest.Recompile(t, dsdt)
	out := acpitest.Exec(t, []string{
		`evaluate \_SB.PCI0._OSC (5B4DDB33F71F1C4096577441C03DD766) 1 3 (00000000 1F000000 1F000000)`,
		`evaluate \_SB.PCI0._OSC (00000000000000000000000000000000) 1 3 (00000000 1F000000 1F000000)`,
		`evaluate \_SB.PCI0._PRT`, `evaluate \_SB.PCI0._CRS`, `evaluate \_SB.PCIC._CRS`,
	}, dsdt)
	for _, want := range []string{"00 00 00 00 1F 00 00 00 1F 00 00 00", "04 00 00 00 1F 00 00 00 1F 00 00 00"} {
		if !strings.Contains(out, want) {
			t.Errorf("_OSC does not give %s:\n%s", want, out)
		}
	}
}

// TestSlots: each memory slot is a device whose methods run, and which is empty
// while the registers read as zeros.
func TestSlots(t *testing.T) {
	tables := newPC(t, soft.Engine{}, "p", func(c *vmm.Config, p *vmm.Payload) { c.Slots = 2 }).Tables()
	dsdt := tables[len(tables)-1]
	acpitest.Recompile(t, dsdt)
	out := acpitest.Exec(t, []string{
		`evaluate \_SB.MEMC.MP01._STA`, `evaluate \_SB.MEMC.MP01._PXM`, `evaluate \_SB.MEMC.MP00._CRS`, `evaluate \_SB.MEMC.MP01._OST 3 0 (00)`,
		`evaluate \_SB.MEMC.MP01._EJ0 1`, `evaluate \_SB.MEMC.MP01._STA`, `evaluate \_SB.MEMC.MSCN`, `evaluate \_SB.GED._EVT 9`,
	}, dsdt)
	for _, want := range []string{"[Integer] = 0000000000000000", "8A 2B 00 00 0D 03"} {
		if !strings.Contains(out, want) {
			t.Errorf("the methods do not give %q:\n%s", want, out)
		}
	}
}

func TestRAM(t *testing.T) {
	p := newPC(t, soft.Engine{}, "p")
	ram := p.Memory()
	if _, err := ram.WriteAt([]byte("mailbox"), int64(p.Layout().Reserved.Base)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 7)
	if _, err := ram.ReadAt(b, int64(p.Layout().Reserved.Base)); err != nil || string(b) != "mailbox" {
		t.Errorf("read %q, %v, want %q", b, err, "mailbox")
	}
	// Memory is RAM alone, without what others add.
	if err := p.AddMemory(vmm.Region{Base: 5 << 30, Mem: make([]byte, 4096)}); err != nil {
		t.Fatal(err)
	}
	for _, addr := range []int64{32<<20 - 6, 32 << 20, 4 << 30, 5 << 30, -1, -1 << 63, 1<<63 - 1} {
		if n, err := ram.ReadAt(b, addr); err == nil || n != 0 {
			t.Errorf("ReadAt of 7 bytes at %#x of 32 MiB = %d, %v, want an error", addr, n, err)
		}
		if n, err := ram.WriteAt(b, addr); err == nil || n != 0 {
			t.Errorf("WriteAt of 7 bytes at %#x of 32 MiB = %d, %v, want an error", addr, n, err)
		}
	}
	if _, err := ram.ReadAt(b, 32<<20-7); err != nil {
		t.Errorf("ReadAt of the last 7 bytes: %v", err)
	}
}

func TestAddErrors(t *testing.T) {
	p := newPC(t, soft.Engine{}, "p")
	page := make([]byte, 4096)
	if err := p.AddMemory(vmm.Region{Base: 5 << 30, Mem: page}); err != nil {
		t.Fatal(err)
	}
	var r recorder
	for _, c := range []struct {
		name string
		err  error
		want string
	}{
		{"memory twice", p.AddMemory(vmm.Region{Base: 5 << 30, Mem: page}), "memory at 0x140000000-0x140000fff: 0x140000000-0x140000fff is taken"},
		{"memory over RAM", p.AddMemory(vmm.Region{Base: 0x1000, Mem: page}), "memory at 0x1000-0x1fff: 0x0-0x1ffffff is taken"},
		{"half a page", p.AddMemory(vmm.Region{Base: 6 << 30, Mem: page[:2048]}), "want whole pages"},
		{"odd address", p.AddMemory(vmm.Region{Base: 6<<30 + 1, Mem: page}), "want whole pages"},
		{"no memory", p.AddMemory(vmm.Region{Base: 6 << 30}), "want whole pages"},
		{"the end of the world", p.AddMemory(vmm.Region{Base: ^uint64(4095), Mem: page}), "want whole pages"},
		{"removing nothing", p.RemoveMemory(6 << 30), "no memory starts at 0x180000000"},
		{"ports of the serial port", p.AddPort(0x3ff, 2, &r), "I/O ports: 0x3ff-0x400 is taken"},
		{"ports around the reset register", p.AddPort(0x500, 0x200, &r), "I/O ports: 0x500-0x6ff is taken"},
		{"no ports", p.AddPort(0x500, 0, &r), "0 I/O ports from 0x500: outside of 0 to 0xffff"},
		{"ports behind the last", p.AddPort(0xffff, 2, &r), "2 I/O ports from 0xffff: outside of 0 to 0xffff"},
		{"registers of the I/O APIC", p.AddMMIO(0xfec0_0800, 16, &r), "device registers: 0xfec00800-0xfec0080f is taken"},
		{"registers that wrap", p.AddMMIO(^uint64(0), 2, &r), "no valid range"},
	} {
		if c.err == nil || !strings.Contains(c.err.Error(), c.want) {
			t.Errorf("%s: error = %v, want one with %q", c.name, c.err, c.want)
		}
	}
	if err := p.AddPort(0xffff, 1, &r); err != nil {
		t.Errorf("AddPort of the last port: %v", err)
	}
	if err := p.RemoveMemory(5 << 30); err != nil {
		t.Errorf("RemoveMemory: %v", err)
	}
	if err := p.AddMemory(vmm.Region{Base: 5 << 30, Mem: page}); err != nil {
		t.Errorf("AddMemory again: %v", err)
	}
}

// TestAssembled: a machine that has not booted runs nothing, and one boots once.
func TestAssembled(t *testing.T) {
	m, err := vmm.Assemble(vmm.Config{Memory: 32 << 20, Engine: soft.Engine{}})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if m.State() != vmm.Assembled || m.Clock() != 0 || m.Tables() != nil {
		t.Errorf("state %v, clock %v, %d tables, want assembled, 0 and none", m.State(), m.Clock(), len(m.Tables()))
	}
	if _, err := m.Run(context.Background(), time.Second, nil); err == nil {
		t.Error("a machine runs before it booted")
	}
	p := newPC(t, soft.Engine{}, "p")
	k, err := boot.Load("testdata/guest.elf")
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	if err := p.Boot(vmm.Payload{Kernel: k}); err == nil || p.State() != vmm.Running {
		t.Errorf("a second Boot gave %v, and the machine is %v", err, p.State())
	}
}

// TestMADT: every CPU is listed, and the mailbox that starts the others lies in
// memory that is kept from the kernel.
func TestMADT(t *testing.T) {
	k, err := boot.Load("testdata/guest.elf")
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	for cpus := range 4 {
		m, err := vmm.Assemble(vmm.Config{Memory: 32 << 20, CPUs: cpus, Engine: soft.Engine{Interpreter: true}})
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Boot(vmm.Payload{Kernel: k}); err != nil {
			t.Fatal(err)
		}
		apics, boxes := 0, 0
		for _, table := range m.Tables() {
			madt, err := acpi.ParseMADT(table)
			if err != nil {
				continue
			}
			for _, e := range madt.Entries {
				switch e := e.(type) {
				case *acpi.LocalAPIC:
					apics++
				case *acpi.MultiprocessorWakeup:
					boxes++
					for _, at := range []uint64{e.Mailbox, e.ResetVector} {
						if p := m.Layout().Parking; at < p.Base || at >= p.End() {
							t.Errorf("%d CPUs: %#x is not in %v", cpus, at, p)
						}
					}
				}
			}
		}
		if want := max(cpus, 1); apics != want || (boxes == 1) != (want > 1) {
			t.Errorf("%d CPUs: the MADT has %d local APICs and %d mailboxes, want %d and one for more than one CPU", cpus, apics, boxes, want)
		}
		m.Close()
	}
}
