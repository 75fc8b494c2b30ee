package qemutest

import (
	"cmp"
	"context"
	"path/filepath"

	"nvlab/lab"
)

// A side is a running machine, QEMU's or nvlab's.
type side interface {
	Run(command string) (status int, stdout, stderr string, err error)
	ReadFile(path string) ([]byte, error)
	Plug(DIMM) error
	MemoryDevices() ([]MemoryDevice, error)
	PowerOff() error
	Close() error
}

// A launcher switches a machine on, the files of its DIMMs in a folder.
type launcher struct {
	name   string
	start  func(ctx context.Context, o Options, dir string) (side, error)
	places bool // it is given addresses for its DIMMs
}

var (
	onQEMU    = launcher{"QEMU", startQEMU, true}
	onNvlab   = launcher{"nvlab", startNvlab, false}
	launchers = []launcher{onQEMU, onNvlab}
)

func startQEMU(ctx context.Context, o Options, dir string) (side, error) {
	g, err := stockGuest()
	if err != nil {
		return nil, err
	}
	o = o.forQEMU()
	o.Kernel, o.Initrd = cmp.Or(g.VmlinuxPath, g.KernelPath), g.initrd
	o.Files = g.Kept().Open
	dimms := o.DIMMs
	o.DIMMs = nil
	for _, d := range dimms {
		o.DIMMs = append(o.DIMMs, d.in(dir))
	}
	m, err := Start(ctx, o)
	if err != nil {
		return nil, err
	}
	return &theirs{m, dir}, nil
}

// forQEMU adds the kernel's command line.
func (o Options) forQEMU() Options {
	// On a busy host QEMU's timers are late, and the kernel gives up on them.
	o.Cmdline = qemuCmdline + " no_timer_check"
	if o.Append != "" {
		o.Cmdline += " nvlab.modules=nd_e820,dax_hmem,virtio_pmem " + o.Append
	}
	return o
}

// in is the DIMM with its file in a folder.
func (d DIMM) in(dir string) DIMM {
	if d.Path != "" {
		d.Path = filepath.Join(dir, d.Path)
	}
	return d
}

// theirs is a QEMU machine.
type theirs struct {
	*Machine
	dir string
}

func (s *theirs) Plug(d DIMM) error { return s.Machine.Plug(d.in(s.dir)) }

// ours is a machine of nvlab's, as the scenario language makes it.
type ours struct {
	ctx context.Context
	x   *lab.Experiment
	vm  *lab.VM
}

func startNvlab(ctx context.Context, o Options, dir string) (side, error) {
	l, err := sharedLab()
	if err != nil {
		return nil, err
	}
	s := &ours{ctx: ctx, x: l.Experiment("qemutest", dir)}
	if err := s.start(o); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *ours) start(o Options) (err error) {
	var v lab.VMOptions
	v.Memory, v.Slots, v.MaxMem, v.Persistence, v.Engine = o.Memory, o.Slots, o.MaxMem, o.Persistence, "soft"
	v.Cmdline, v.CPUs = o.Append, o.CPUs
	for _, n := range o.NUMA {
		v.NUMA = append(v.NUMA, n.ours())
	}
	if s.vm, err = s.x.VM(v); err != nil {
		return err
	}
	for _, d := range o.DIMMs {
		if err := s.Plug(d); err != nil {
			return err
		}
	}
	return s.vm.Boot(s.ctx, lab.DefaultTimeout)
}

// ours is the node as nvlab has it.
func (n Node) ours() lab.NUMANode {
	o := lab.NUMANode{Memory: n.Memory, Distances: n.Distances}
	if n.CPU >= 0 {
		o.CPUs = []int{n.CPU}
	}
	for i, ns := range n.Latency {
		o.Latency = append(o.Latency, uint64(ns))
		o.Bandwidth = append(o.Bandwidth, uint64(n.Bandwidth[i])<<20)
	}
	return o
}

func (s *ours) Plug(d DIMM) error {
	if d.RAM {
		o := lab.MemoryOptions{Size: d.Size, ID: d.ID, Slot: d.Slot, Node: d.Node}
		if d.Addr != 0 {
			o.Addr = &d.Addr
		}
		_, err := s.vm.PlugMemory(o)
		return err
	}
	b, err := s.backend(d)
	if err != nil {
		return err
	}
	o := lab.PlugOptions{
		Backend: b, ID: d.ID, LabelSize: d.LabelSize, Unarmed: d.Unarmed, Slot: d.Slot, Node: d.Node, UUID: d.UUID,
	}
	if d.Addr != 0 {
		o.Addr = &d.Addr
	}
	if d.Virtio {
		o = lab.PlugOptions{Backend: b, ID: d.ID, Addr: o.Addr, Virtio: true}
	}
	_, err = s.vm.Plug(o)
	return err
}

func (s *ours) backend(d DIMM) (*lab.Backend, error) {
	if d.Path == "" {
		return s.x.RAMBackend(lab.RAMBackendOptions{Size: d.Size, Share: d.Share, Align: d.Align})
	}
	return s.x.FileBackend(lab.FileBackendOptions{Path: d.Path, Size: d.Size, Share: d.Share, Align: d.Align, ReadOnly: d.ReadOnly})
}

func (s *ours) Run(command string) (status int, stdout, stderr string, err error) {
	r, err := s.vm.Run(s.ctx, lab.Command{Shell: command, Timeout: lab.DefaultTimeout})
	if err != nil {
		return 0, "", "", err
	}
	return r.ExitCode, string(r.Stdout), string(r.Stderr), nil
}

func (s *ours) MemoryDevices() (list []MemoryDevice, err error) {
	for _, d := range s.vm.MemoryDevices() {
		if d.Type == "virtio-pmem" {
			continue
		}
		list = append(list, MemoryDevice{ID: d.ID, Addr: d.Addr, Size: d.Size, Slot: d.Slot, Node: d.Node, HotPlugged: d.HotPlugged})
	}
	return list, nil
}

func (s *ours) ReadFile(path string) ([]byte, error) { return s.vm.ReadFile(s.ctx, path) }
func (s *ours) PowerOff() error                      { return s.vm.PowerOff(s.ctx) }
func (s *ours) Close() error                         { return s.x.Close() }
