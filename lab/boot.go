package lab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"nvlab/guest/proto"
	"nvlab/nvdimm"
	"nvlab/vmm"
	"nvlab/vmm/observe"
)

// DefaultTimeout is how much guest time a call may take.
const DefaultTimeout = 60 * time.Second

// Boot switches the machine on and runs it until its agent answers: the nvdimm
// modules are loaded and their bus is probed. A timeout of 0 is
// DefaultTimeout. A guest that does not answer is an *Error of ClassBoot.
func (v *VM) Boot(ctx context.Context, timeout time.Duration) error {
	switch {
	case v.x.closed:
		return ErrClosed
	case v.state == Running:
		return &StateError{State: Running, Next: StepEnd}
	}
	v.off()
	if err := v.x.lab.opts.GDB.learn(ctx, v); err != nil {
		return err
	}
	image, err := v.prepare(ctx)
	if err != nil {
		v.off()
		return err
	}
	return v.bootOrRecall(ctx, image, timeout)
}

// awaitChannel runs a machine that was just switched on or reset until the guest's
// driver has found the channel of its agent, which it does before there is a driver
// of NVDIMMs. Of a machine that ends before awaitAgent says how.
func (v *VM) awaitChannel(ctx context.Context, timeout time.Duration) error {
	_, err := v.runUntil(ctx, endOfBoot(timeout), v.m.Channel().Found)
	v.happened() // nothing that comes is one with that, whether or not anyone keeps it
	if err != nil {
		v.crash()
	}
	return err
}

// awaitDriver runs a machine whose channel was found until the guest's driver of NVDIMMs is
// about to read the NFIT, and says that it is. It is not where there is no NFIT, where the
// guest has no such driver, and on an engine that cannot stop there. Of a machine that ends
// before awaitAgent says how.
func (v *VM) awaitDriver(ctx context.Context, timeout time.Duration) (stands bool, err error) {
	_, lines, ok := v.placeOfNFIT()
	if !ok {
		return false, nil
	}
	stands, err = v.runToLoad(ctx, timeout, lines, func() bool {
		_, hello := v.client.Hello()
		return hello || v.client.Err() != nil
	})
	if err != nil {
		v.crash()
	}
	return stands, err
}

// runToLoad runs a machine that boots until it stands before a load from these lines, and says
// that it does, or until done holds. It does not run on an engine that cannot stop there.
func (v *VM) runToLoad(ctx context.Context, timeout time.Duration, lines *observe.Watch, done func() bool) (stands bool, err error) {
	if v.m.StopBefore(lines) != nil {
		return false, nil
	}
	_, err = v.runUntil(ctx, endOfBoot(timeout), func() bool {
		stands, _ := v.m.StoppedBefore()
		return stands || done()
	})
	if err != nil {
		return false, err
	}
	stands, passed := v.m.StoppedBefore()
	return stands && !passed, v.m.StopBefore(nil)
}

// endOfBoot is what the clock of a machine that boots shows at most, however often the
// boot stops on its way.
func endOfBoot(timeout time.Duration) time.Duration { return cmp.Or(timeout, DefaultTimeout) }

// toDriver is awaitChannel and awaitDriver.
func (v *VM) toDriver(ctx context.Context, timeout time.Duration) error {
	if err := v.awaitChannel(ctx, timeout); err != nil {
		return err
	}
	_, err := v.awaitDriver(ctx, timeout)
	return err
}

// awaitAgent runs a machine whose driver of NVDIMMs is about to be there. Its random numbers
// are those of this boot from then on.
func (v *VM) awaitAgent(ctx context.Context, timeout time.Duration) error {
	v.m.Reseed(v.seed())
	stop, err := v.runUntil(ctx, endOfBoot(timeout), func() bool {
		_, hello := v.client.Hello()
		return hello || v.client.Err() != nil
	})
	if err == nil && v.power.Failed() {
		v.off()
		return nil
	}
	if _, hello := v.client.Hello(); err == nil && stop == vmm.StopDone && hello && v.client.Err() == nil {
		v.note(KindPower, "the guest answers")
		v.console.booted = len(v.console.text)
		return nil
	}
	if err == nil {
		err = v.bootError(stop, timeout)
	}
	v.crash()
	return err
}

func (v *VM) bootError(stop vmm.Stop, timeout time.Duration) error {
	why := ""
	switch fault := v.fault(); {
	case v.client.Err() != nil:
		why = v.client.Err().Error()
	case fault != nil:
		v.noteFault(fault)
		why, v.reported = fault.line, true
	case stop == vmm.StopDeadline:
		why = fmt.Sprintf("no answer within %v of guest time", timeout)
	default:
		why = v.endedBy("the machine ended in " + stop.String())
	}
	return &Error{Class: ClassBoot, Err: fmt.Errorf("the guest did not boot: %s", why), Console: v.lastMessages()}
}

// prepare does what comes before the machine is made.
func (v *VM) prepare(ctx context.Context) (*image, error) {
	image, err := v.x.lab.image(ctx, v.opts.guest())
	if err != nil {
		return nil, err
	}
	v.x.inputs.guest(v.opts.guest(), image)
	if v.engine.Name() != "soft" {
		v.x.inputs.Other("engine %s", v.engine.Name())
	}
	if err := v.checkFit(image); err != nil {
		return nil, err
	}
	if v.opts.MachineCheck {
		if err := image.canHandle(); err != nil {
			return nil, err
		}
	}
	if err := v.reserve(ctx); err != nil {
		return nil, err
	}
	for _, d := range v.dimms {
		d.hotPlugged = false
	}
	v.boots++
	v.root.PowerOn()
	return image, nil
}

// guestTables are the tables that the guest is to have besides the machine's
// own. The number of NUMA nodes is known from then on.
func (v *VM) guestTables() ([][]byte, error) {
	layout := vmm.NewLayout(v.opts.Memory, v.opts.PhysBits)
	tables, err := v.root.Tables(layout.Reserved.Base)
	if err != nil {
		return nil, err
	}
	v.nodes = max(v.root.Nodes(), len(v.opts.NUMA))
	tables = append(tables, v.numaTables(layout)...)
	return v.replaceTables(tables), nil
}

// powerOn makes the machine.
func (v *VM) powerOn(ctx context.Context) error {
	image, err := v.prepare(ctx)
	if err != nil {
		return err
	}
	tables, err := v.guestTables()
	if err != nil {
		return err
	}
	return v.start(image, tables, v.seed())
}

// seed is that of the machine in this boot.
func (v *VM) seed() uint64 { return bootSeed(v.x.lab.opts.Seed, v.opts.Seed, v.place, v.boots) }

// earlySeed is the seed that the machine has until awaitAgent: one for all boots of VMs
// with one seed, which so have their beginning in common.
func (v *VM) earlySeed() uint64 { return bootSeed(v.x.lab.opts.Seed, v.opts.Seed, 0, 0) }

// start is power-on with these tables, or the reset of a machine whose DIMMs are
// mapped.
func (v *VM) start(image *image, tables [][]byte, seed uint64) error {
	v.forgetFault()
	config := v.config()
	config.Seed = seed
	m, err := vmm.Assemble(config)
	if err != nil {
		return err
	}
	v.m, v.client, v.lost = m, &proto.Client{Files: image.kept.Open}, nil
	v.image = image
	v.timeline.scrub, v.timeline.fault = 0, ""
	v.add(v.switchedOn())
	v.x.lab.opts.GDB.attend(v)
	v.symbols, v.tasks, v.pushed = nil, nil, nil
	v.power.PowerOn(m.Observe)
	for _, d := range v.dimms {
		if err := v.addMemory(d); err != nil {
			return err
		}
	}
	for _, m := range v.root.Memory() {
		if err := v.addRAM(m); err != nil {
			return err
		}
	}
	if err := v.addDevices(); err != nil {
		return err
	}
	v.poison, v.missed = nil, ""
	if err := v.armPoison(); err != nil {
		return err
	}
	if v.reads != nil {
		if err := v.armReads(); err != nil {
			return err
		}
	}
	if v.touched != nil {
		if err := v.touched.arm(); err != nil {
			return err
		}
	}
	err = m.Boot(vmm.Payload{
		Kernel: image.kernel, Initrd: image.initrd, InitrdSize: image.initrd.Size(),
		Cmdline: v.cmdline(), Tables: tables,
	})
	if err != nil {
		return err
	}
	v.tables = m.Tables()
	v.state = Running
	return nil
}

// config is the machine that the VM has when it is on.
func (v *VM) config() vmm.Config {
	config := vmm.Config{
		Memory: v.opts.Memory, CPUs: v.opts.CPUs, Engine: v.engine,
		Seed:    v.seed(),
		Date:    Epoch,
		Console: &v.console,
		PCI:     v.hasPCIe(), Cores: v.opts.cores(), PhysBits: v.opts.PhysBits, Slots: v.opts.Slots,
		PMEM: v.pmem(), FlushPMEM: v.flushPMEM, PlugPMEM: v.opts.MaxMem > v.opts.Memory,

		MachineCheck: v.opts.MachineCheck,
	}
	if !v.opts.NoNVDIMM && v.opts.Slots > 0 {
		config.Events = events
	}
	if g := v.x.lab.opts.GDB; g != nil && !v.quiet {
		config.Debugger = g
	}
	return config
}

// addDevices adds those of the NVDIMM root device.
func (v *VM) addDevices() error {
	layout := vmm.NewLayout(v.opts.Memory, v.opts.PhysBits)
	if hints := v.root.Hints(); hints != nil {
		if err := v.m.AddMMIO(layout.Devices.Base, hints.Size(), askedMMIO{hints, v}); err != nil {
			return err
		}
	}
	mailbox := v.root.Mailbox(v.m.Memory(), layout.Reserved.Base)
	return v.m.AddPort(nvdimm.MailboxPort, nvdimm.MailboxPorts, askedPort{mailbox, v})
}

// reserve takes the machine's memory from the gate, and gives it back in off.
func (v *VM) reserve(ctx context.Context) error {
	n := int64(v.opts.Memory) + machineOverhead
	for _, m := range v.root.Memory() {
		n += int64(m.Size)
	}
	return v.reserveBytes(ctx, n)
}

func (v *VM) reserveBytes(ctx context.Context, n int64) error {
	if err := v.x.lab.memory.acquire(ctx, n, v.x.reserved); err != nil {
		return err
	}
	v.reserved += n
	v.x.reserved += n
	return nil
}

// machineOverhead is what nvlab itself needs for a machine, in bytes.
const machineOverhead = 64 << 20

// off is the end of a power-on, however it came: the machine is gone and what
// private and anonymous memory held is lost.
func (v *VM) off() {
	switch cut := v.power.Struck(); {
	case v.m == nil:
	case cut != nil:
		v.note(KindPower, fmt.Sprintf("fails before %s", cut))
	case v.power.Failed():
		v.note(KindPower, "fails")
	default:
		v.note(KindPower, "off")
	}
	v.stop()
	on := v.power.On()
	v.power.PowerOff()
	for _, d := range v.dimms {
		d.Unmap()
		if on && v.reads != nil && !d.backend.Share() {
			v.reads.undone(d) // what the guest stored is gone
		}
	}
	if v.reserved > 0 {
		v.x.reserved -= v.reserved
		v.x.lab.memory.release(v.reserved, v.x.reserved)
		v.reserved = 0
	}
	v.state, v.nodes = Off, 0
}

// stop gives the machine back and keeps its DIMMs mapped.
func (v *VM) stop() {
	v.depart()
	if v.m == nil {
		return
	}
	v.readLog() // it is gone with the memory
	v.clock, v.stats = v.m.Clock(), v.m.Stats()
	v.x.lab.opts.GDB.leave(v)
	v.discard()
}

// discard gives a machine back of which nothing is to be known.
func (v *VM) discard() {
	v.client.Close()
	v.m.Close()
	v.m = nil
}

// crash keeps the memory of a machine that stopped by itself, for the scenario
// to look at; the machine runs no more.
func (v *VM) crash() {
	if v.m != nil {
		v.note(KindPower, "the machine is stopped as it is")
	}
	v.crashed()
}

// crashed is crash of a machine of which that is noted.
func (v *VM) crashed() {
	v.stop()
	v.state = Crashed
}

// end is the end of the experiment.
func (v *VM) end() { v.off() }

// PowerOff asks the guest to end cleanly: S5.
func (v *VM) PowerOff(ctx context.Context) error {
	if err := v.leave(ctx, proto.Poweroff{}, vmm.StopPowerOff); err != nil {
		return err
	}
	v.off()
	return nil
}

// Reboot resets the machine cleanly and waits for its agent. Memory of DIMMs
// keeps its contents.
func (v *VM) Reboot(ctx context.Context) error {
	if err := v.leave(ctx, proto.Reboot{}, vmm.StopReset); err != nil {
		return err
	}
	return v.restart(ctx)
}

// restart is what follows a reset.
func (v *VM) restart(ctx context.Context) error {
	image, err := v.x.lab.image(ctx, v.opts.guest())
	if err != nil {
		return err
	}
	if v.m != nil {
		v.note(KindPower, "reset")
	}
	v.stop()
	v.boots++
	tables, err := v.guestTables()
	if err == nil {
		err = v.start(image, tables, v.earlySeed())
	}
	if err != nil {
		v.off()
		return err
	}
	if err := v.toDriver(ctx, DefaultTimeout); err != nil {
		return err
	}
	return v.awaitAgent(ctx, DefaultTimeout)
}

// leave sends the guest on its way to a power state.
func (v *VM) leave(ctx context.Context, request proto.Request, want vmm.Stop) error {
	if err := v.on(); err != nil {
		return err
	}
	id, send, err := v.client.Start(request)
	if err != nil {
		return err
	}
	v.m.Channel().Send(send)
	refused := func() error {
		if r, ok := v.client.Result(id); ok && r.Err != nil && !errors.Is(r.Err, proto.ErrStreamEnded) {
			return r.Err
		}
		return nil
	}
	var why error
	stop, err := v.run(ctx, DefaultTimeout, func() bool {
		why = refused()
		return why != nil
	})
	switch {
	case err != nil:
		v.crash()
		return err
	case why != nil:
		return why
	case stop != want:
		return v.guestError(stop, fmt.Sprintf("the guest was asked for a %v", want), DefaultTimeout)
	}
	if err := v.oops(); err != nil {
		v.crash()
		return err
	}
	return nil
}

// Kill ends the VM as kill -9 of its process would.
func (v *VM) Kill() error {
	if v.x.closed {
		return ErrClosed
	}
	if v.state == Off {
		return errors.New("the VM is off: there is nothing to kill")
	}
	v.off()
	return nil
}
