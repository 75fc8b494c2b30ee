package lab

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"sync"

	"nvlab/guest/introspect"
	"nvlab/vmm"
	"nvlab/vmm/gdb"
)

// GDB is where gdb comes to look at the machines of a Lab, on the software
// engine: see package gdb. The first boot waits for it.
type GDB struct {
	server *gdb.Server

	mu      sync.Mutex // between machines
	kernels map[*image]*kernelNames
	vms     map[*vmm.Machine]*VM
	user    []uint64     // gdb's breakpoints
	looked  *vmm.Machine // the latest that gdb was asked about
	trouble error        // why there are no symbols
}

// ListenGDB makes one at a TCP address of this host. waits is called when a
// machine begins to wait, with why there are no symbols, or nil; killed when gdb
// ends the run.
func ListenGDB(addr string, waits func(noSymbols error), killed func()) (*GDB, error) {
	server, err := gdb.Listen(addr)
	if err != nil {
		return nil, err
	}
	g := &GDB{server: server, kernels: map[*image]*kernelNames{}, vms: map[*vmm.Machine]*VM{}}
	server.Waits = func() { waits(g.trouble) }
	server.Killed = killed
	return g, nil
}

// Addr is where gdb is to come to.
func (g *GDB) Addr() string { return g.server.Addr() }

// Close tells gdb that there is nothing more to look at.
func (g *GDB) Close() error { return g.server.Close() }

// Between lets gdb look at a machine.
func (g *GDB) Between(ctx context.Context, m *vmm.Machine) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	p, err := m.Debugged()
	if err != nil {
		return err
	}
	d := &debugged{Debugged: p, m: m, g: g, loaded: m != g.looked}
	if v := g.vms[m]; v != nil {
		d.kernel = g.kernels[v.image]
	}
	g.looked = m
	return g.server.Between(ctx, d)
}

// attend notes whose machine the VM's is, and leave that it is gone.
func (g *GDB) attend(v *VM) {
	if g == nil || v.quiet {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.vms[v.m] = v
}

func (g *GDB) leave(v *VM) {
	if g == nil || v.m == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.vms, v.m)
}

// A kernelNames is what gdb is told of a kernel.
type kernelNames struct {
	file   gdb.Library
	layout *introspect.ModuleLayout // nil if modules' symbols are not known
	list   uint64                   // address of the modules' list
	loads  []uint64                 // and of the functions that begin and end the use of a module
}

// loadFunctions are what a kernel calls when a module's symbols are there, and
// before they go (Linux, kernel/module/main.c).
var loadFunctions = []string{"do_init_module", "free_module"}

// learn finds out where a kernel has its symbols: it boots in a machine of its
// own, and says. In every machine they are at the same place; those of modules are
// not, and are found in the guest's memory.
func (g *GDB) learn(ctx context.Context, v *VM) error {
	if g == nil || v.quiet {
		return nil
	}
	image, err := v.x.lab.image(ctx, v.opts.guest())
	if err != nil {
		return err
	}
	if g.kernels[image] != nil {
		return nil
	}
	k := &kernelNames{}
	g.kernels[image] = k
	text, err := v.kallsyms(ctx)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		g.trouble = fmt.Errorf("the guest %s: %w", image.Name, err)
		return nil
	}
	own := slices.DeleteFunc(introspect.ReadSymbols(text), func(s introspect.Symbol) bool { return s.Module != "" })
	k.file = library("kernel", introspect.SymbolFile(own))
	for _, s := range own {
		switch {
		case s.Name == "modules" && !s.Code:
			k.list = s.Addr
		case slices.Contains(loadFunctions, s.Name):
			k.loads = append(k.loads, s.Addr)
		}
	}
	if layout := image.layout(); layout != nil {
		k.layout = layout.Modules
	}
	if k.layout == nil || k.list == 0 || len(k.loads) < len(loadFunctions) {
		k.layout, g.trouble = nil, errors.New("this kernel does not say where its modules are: there are its own symbols only")
	}
	return nil
}

// kallsyms is /proc/kallsyms of a VM's guest in a machine of its own.
func (v *VM) kallsyms(ctx context.Context) ([]byte, error) {
	x := v.x.lab.Experiment(v.x.name, v.x.dir)
	defer x.Close()
	other, err := x.VM(VMOptions{Kernel: v.opts.Kernel, Release: v.opts.Release, Packages: v.opts.Packages})
	if err != nil {
		return nil, err
	}
	other.quiet = true
	if err := other.Boot(ctx, 0); err != nil {
		return nil, err
	}
	return other.ReadFile(ctx, "/proc/kallsyms")
}

// library names a file for what is in it: gdb takes one of another name for
// another.
func library(name string, content []byte) gdb.Library {
	return gdb.Library{Name: fmt.Sprintf("/%s-%08x", name, crc32.ChecksumIEEE(content)), Content: content}
}

// debugged is a machine as gdb sees it.
type debugged struct {
	vmm.Debugged
	m      *vmm.Machine
	g      *GDB
	kernel *kernelNames // nil if it is not known
	loaded bool         // its libraries may be others than before
}

func (d *debugged) CPUs() int { return d.m.CPUs() }

func (d *debugged) CPU(cpu int) string {
	r := d.Registers(cpu)
	switch {
	case r.Halted:
		return fmt.Sprintf("CPU %d, halted", cpu)
	case r.Segment[1]&3 == 3:
		return fmt.Sprintf("CPU %d, in a program", cpu)
	}
	return fmt.Sprintf("CPU %d, in the kernel", cpu)
}

// loads are where the kernel begins and ends the use of a module, if anybody
// wants to know.
func (d *debugged) loads() []uint64 {
	if d.kernel == nil || d.kernel.layout == nil {
		return nil
	}
	return d.kernel.loads
}

// Break sets breakpoints; with loads also those at which Loaded begins to hold.
func (d *debugged) Break(at []uint64, loads bool) {
	d.g.user = at
	if loads {
		at = append(slices.Clip(at), d.loads()...)
	}
	d.Debugged.Break(at)
}

// Broke passes over a breakpoint that is not gdb's.
func (d *debugged) Broke() (cpu int, why vmm.Broke) {
	cpu, why = d.Debugged.Broke()
	if why == vmm.Breakpoint {
		at := d.Registers(cpu).RIP
		d.loaded = d.loaded || slices.Contains(d.loads(), at)
		if !slices.Contains(d.g.user, at) {
			why = vmm.NotBroken
		}
	}
	return cpu, why
}

// Loaded says, once, that Libraries may have changed.
func (d *debugged) Loaded() bool {
	was := d.loaded
	d.loaded = false
	return was
}

// Libraries are the kernel, and all its modules together.
func (d *debugged) Libraries() (list []gdb.Library) {
	if d.kernel == nil || d.kernel.file.Content == nil {
		return nil
	}
	list = append(list, d.kernel.file)
	l := d.kernel.layout
	if l == nil {
		return list
	}
	read := func(p []byte, addr uint64) bool { return d.ReadMemory(d.Turn(), addr, p) == len(p) }
	var symbols []introspect.Symbol
	var names []string
	for _, m := range introspect.Modules(read, l, d.kernel.list) {
		symbols = append(symbols, introspect.ReadModule(read, l, m)...)
		names = append(names, m.Name)
	}
	if len(symbols) == 0 {
		return list
	}
	name := "modules"
	if len(names) == 1 {
		name = strings.ReplaceAll(names[0], "/", "_")
	}
	return append(list, library(name, introspect.SymbolFile(symbols)))
}

// translate finds a virtual address in the page tables of a processor.
func (d *debugged) translate(cr3, addr uint64) (uint64, bool) {
	if addr>>63 != 0 {
		return introspect.TranslateKernel(d.m.Physical(), cr3, addr)
	}
	return introspect.Translate(d.m.Physical(), cr3, addr)
}

// pieces calls do for the parts of n bytes at a virtual address that are in one
// page each, until one is not mapped or do says no. It returns how many bytes
// those were that did not.
func (d *debugged) pieces(cpu int, addr uint64, n int, do func(at uint64, from, to int) bool) int {
	cr3 := d.Registers(cpu).CR3
	done := 0
	for done < n {
		at, ok := d.translate(cr3, addr+uint64(done))
		to := min(n, done+int(4096-at%4096))
		if !ok || !do(at, done, to) {
			break
		}
		done = to
	}
	return done
}

// ReadMemory fills p from a virtual address, as far as that is mapped.
func (d *debugged) ReadMemory(cpu int, addr uint64, p []byte) int {
	return d.pieces(cpu, addr, len(p), func(at uint64, from, to int) bool {
		_, err := d.m.Physical().ReadAt(p[from:to], int64(at))
		return err == nil
	})
}

// WriteMemory writes RAM. What an NVDIMM holds is the guest's to write: whoever
// watches its stores would not see these.
func (d *debugged) WriteMemory(cpu int, addr uint64, p []byte) error {
	var err error
	n := d.pieces(cpu, addr, len(p), func(at uint64, from, to int) bool {
		_, err = d.m.Memory().WriteAt(p[from:to], int64(at))
		return err == nil
	})
	if n < len(p) && err == nil {
		err = fmt.Errorf("nothing is mapped at %#x", addr+uint64(n))
	}
	return err
}
