package qemutest

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"nvlab/lab"
	"nvlab/nvdimm"
	"nvlab/nvdimm/backend"
	"nvlab/vmm"
	"nvlab/vmm/boot"
	"nvlab/vmm/soft"
)

// jobVariable holds the job of a process that is to nvlab what a QEMU process
// is to QEMU: one machine from launch to power-off.
const jobVariable = "NVLAB_QEMUTEST_JOB"

// A job is a machine with one labelled DIMM, whose guest runs a script.
type job struct {
	Kernel, Initrd string // paths
	Cmdline        string // words added to the default ones
	Memory         uint64 // bytes
	Backend        string // path; the file is there
	Size           uint64 // bytes
	LabelSize      uint64 // bytes
}

// runJob runs a job, which text says, and returns the status to exit with.
func runJob(j interface{ run(context.Context) error }, text string) int {
	err := json.Unmarshal([]byte(text), j)
	if err == nil {
		err = j.run(context.Background())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// run does what package lab does at power-on, with an initramfs of its own.
func (j *job) run(ctx context.Context) error {
	layout := vmm.NewLayout(j.Memory, 0)
	root, err := nvdimm.NewRoot(nvdimm.Config{
		Enabled: true, Slots: 1, Memory: j.Memory, MaxMem: 4 << 30,
		Base: layout.DeviceMemory, Limit: layout.AddressLimit, Strict: true,
	})
	if err != nil {
		return err
	}
	backend, err := backend.OpenFile(backend.FileConfig{Path: j.Backend, Size: j.Size, Share: true})
	if err != nil {
		return err
	}
	defer backend.Close()
	dimm, err := root.Plug(nvdimm.PlugConfig{Backend: backend, LabelSize: j.LabelSize})
	if err != nil {
		return err
	}
	defer dimm.Unmap()
	memory, err := dimm.Map()
	if err != nil {
		return err
	}
	tables, err := root.Tables(layout.Reserved.Base)
	if err != nil {
		return err
	}
	kernel, err := boot.Load(j.Kernel)
	if err != nil {
		return err
	}
	initrd, err := os.Open(j.Initrd)
	if err != nil {
		return err
	}
	defer initrd.Close()
	info, err := initrd.Stat()
	if err != nil {
		return err
	}
	m, err := vmm.Assemble(vmm.Config{
		Memory: j.Memory, CPUs: 1, Engine: soft.Engine{}, Date: lab.Epoch,
		Events:  []vmm.Event{{Path: nvdimm.RootPath, Value: nvdimm.NotifyFIT}},
		Console: os.Stdout,
	})
	if err != nil {
		return err
	}
	defer m.Close()
	if err := m.AddMemory(vmm.Region{Base: dimm.Addr(), Mem: memory}); err != nil {
		return err
	}
	if err := m.AddPort(nvdimm.MailboxPort, nvdimm.MailboxPorts, root.Mailbox(m.Memory(), layout.Reserved.Base)); err != nil {
		return err
	}
	err = m.Boot(vmm.Payload{
		Kernel: kernel, Initrd: initrd, InitrdSize: info.Size(),
		Cmdline: boot.DefaultCmdline(vmm.TSCKHz) + " " + j.Cmdline, Tables: tables,
	})
	if err != nil {
		return err
	}
	stop, err := m.Run(ctx, 5*time.Minute, func() bool { return false })
	if err == nil && stop != vmm.StopPowerOff {
		err = fmt.Errorf("the machine ended in %v, not in a power-off", stop)
	}
	if err == nil {
		err = reportMemory(j.Backend)
	}
	return err
}
