package nvstar

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"go.starlark.net/starlark"

	"nvlab/lab"
	"nvlab/nvdimm"
)

// A vm is a machine.
type vm struct {
	t *T
	v *lab.VM
	made
	latest *result // of a command
	dimms  []*dimm // that a scenario has handles of
}

func (v *vm) alive() error        { return v.t.alive() }
func (v *vm) Type() string        { return "vm" }
func (v *vm) AttrNames() []string { return vmClass.attrNames() }

// Attr settles a VM that a recovery got, but for what begins with a call.
func (v *vm) Attr(name string) (starlark.Value, error) {
	switch name {
	case "run", "ndctl", "daxctl":
	default:
		if err := v.v.Settle(); err != nil {
			return nil, err
		}
	}
	return vmClass.attr(v, name)
}

var vmClass = newClass("vm", "A machine. Its guest runs only while the scenario waits for it. Timeouts are guest time on the software engine, wall time on KVM.", []member[*vm]{
	{name: "plug", sig: `(*, backend, id=None, label_size=0, unarmed=False, slot=None, node=0, addr=None, uuid=None, vendor_id=None, device_id=None, revision=None, serial=None, handle=None, physical_id=None, regions=1, family=None)`,
		doc: `Plugs an NVDIMM → nvdimm. Before boot as -device nvdimm would, after it as device_add. A DIMM stays plugged over power-off and boot. What is invalid is an error, and the VM goes on.

label_size: of the label area at the backend's end, at least 128 KiB; 0 is none. unarmed: the guest is told that writes do not persist. slot: the lowest free one if None. node: its NUMA node; one that the guest did not boot with cannot be hot-plugged. addr: its guest-physical address, a multiple of the backend's align. uuid: kept and without effect, as in QEMU on x86.

vendor_id, device_id, revision, serial, handle and physical_id are what the NFIT says of the DIMM; None is what QEMU says. A handle can be chosen before boot only, as the guest knows its slots by it. regions: how many equal parts the guest sees as regions of their own, which share the label area.

family: whose _DSM the DIMM speaks, "intel", "msft", "hyperv" or "hpe1"; None is QEMU's, with functions for the labels only. "intel" has all functions, the others tell of the health.`,
		call: plug},
	{name: "plug_memory", sig: `(*, size, id=None, slot=None, node=0, addr=None)`,
		doc: `Plugs RAM into a slot (-device pc-dimm) → memory_device. Before boot the guest finds it as it boots, after it at once; it counts towards slots and maxmem as an NVDIMM does, and stays plugged over power-off and boot. Linux takes multiples of 128 MiB, and leaves the memory offline unless told otherwise (memhp_default_state=online, or online to /sys/devices/system/memory/memoryN/state).

size: a multiple of 2 MiB. slot: the lowest free one if None. node: its NUMA node; one that the guest did not boot with cannot be hot-plugged. addr: its guest-physical address, a multiple of 2 MiB.`,
		call: plugMemory},
	{name: "plug_virtio_pmem", sig: `(*, backend, id=None, addr=None)`,
		doc: `Plugs a virtio-pmem device (-device virtio-pmem) → nvdimm. Before boot the guest finds it as it boots, after it at once: one that booted without any has no driver loaded (modprobe virtio_pmem). It takes no slot and has no label, but counts towards maxmem. What the guest stored is durable once it asked for a flush, as fsync does, and whether or not it flushed its caches; without, nothing of it is sure. That request is the event "flush_hint" of power cuts and traces.

addr: its guest-physical address, a multiple of the backend's align.`,
		call: plugVirtio},
	{name: "unplug", sig: `(nvdimm, *, timeout="60s")`,
		doc: `Takes an NVDIMM out of a VM that is off; a VM that is on refuses, as QEMU does. nvdimm may be its id. It may be a memory_device, or the id of one, as well: a guest that runs is asked to let it go (an eject request), and if it does not that is an error and the memory stays.`,
		call: func(c *call, v *vm) (starlark.Value, error) {
			timeout := c.duration("timeout")
			if id, ok := memoryArg(c, "nvdimm"); ok && c.err == nil {
				for _, d := range v.v.NVDIMMs() {
					if d.ID() == id {
						return nil, v.v.Unplug(d)
					}
				}
				if _, ok := v.v.MemoryByID(id); !ok {
					return nil, fmt.Errorf("neither an nvdimm nor a memory device %q is plugged into this VM", id)
				}
				return nil, v.v.UnplugMemory(c.ctx(), id, timeout)
			}
			d := handleArg[*dimm](c, "nvdimm", "nvdimm or memory_device")
			if c.err != nil {
				return nil, c.err
			}
			return nil, v.v.Unplug(d.d)
		}},
	{name: "interleave", sig: `(nvdimms, *, line=None)`,
		doc: `Makes one interleave set, and so one region, of several NVDIMMs of one size, before boot. Each holds a line of the region's bytes in turn.

line: a power of two from 4 KiB to 2 GiB that divides the size of an NVDIMM's memory into at most 1,024, or more as long as those of all NVDIMMs are at most 16,384. None is 2 MiB, or less for NVDIMMs that it does not divide, and more for those above 2 GiB.`,
		call: func(c *call, v *vm) (starlark.Value, error) {
			dimms := dimmsArg(c, "nvdimms")
			line := c.optionalSize("line")
			if c.err != nil {
				return nil, c.err
			}
			return nil, v.v.Interleave(dimms, line)
		}},
	{name: "boot", sig: `(*, timeout="60s")`,
		doc: `Boots from power-off to a guest that answers, its nvdimm modules loaded and its bus probed. A guest that panics, hangs or never answers is a boot error (exit status 3), distinct from a failed check.`,
		call: func(c *call, v *vm) (starlark.Value, error) {
			timeout := c.duration("timeout")
			if c.err != nil {
				return nil, c.err
			}
			return nil, v.v.Boot(c.ctx(), timeout)
		}},
	{name: "run", sig: `(command, *, check=True, stdin=None, timeout="60s", errexit=False)`,
		doc: `Runs a command in the guest → result. A string runs under sh -c, a list runs as it is; a program that cannot be started ends in status 127 or 126, as under a shell. stdin is text or bytes. With check an exit status other than 0 fails the test and shows both streams. A panic, a hang or an oops fails it as well.

A shell's exit status is that of its last command: "false; echo x" and "false | cat" end in 0. With errexit a string stops at the first command that fails, wherever it stands in a pipeline (sh -e -o pipefail).`,
		call: runCommand},
	{name: "ndctl", sig: `(*args, check=True)`,
		doc:  `Runs the guest's ndctl and returns its JSON decoded, a list or a dict as ndctl prints it; None if it printed none. With check=False a bad end is no failure: vm.result has the exit status and what ndctl said.`,
		call: func(c *call, v *vm) (starlark.Value, error) { return runJSON(c, v, "ndctl") }},
	{name: "daxctl", sig: `(*args, check=True)`,
		doc:  `Runs the guest's daxctl and returns its JSON decoded, as vm.ndctl does.`,
		call: func(c *call, v *vm) (starlark.Value, error) { return runJSON(c, v, "daxctl") }},
	{name: "regions", sig: `(region=None, *, dimm=None, idle=False, verbose=0)`,
		doc:  `What ndctl list -R says of the regions → list of dicts in the order of their numbers, empty if there are none. region, such as "region0", and dimm narrow it down; dimm is an nvdimm, its id, or its name in the guest, "nmem0". idle=True lists disabled ones too. verbose is how many -v ndctl gets: 1 adds the namespaces and NUMA nodes, 2 the mappings.`,
		call: listRegions},
	{name: "namespaces", sig: `(namespace=None, *, region=None, dimm=None, mode=None, idle=False, verbose=0)`,
		doc:  `What ndctl list -N says of the namespaces → list of dicts in the order of their numbers, as vm.regions. mode is "fsdax", "devdax", "sector" or "raw".`,
		call: listNamespaces},
	{name: "dimms", sig: `(dimm=None, *, region=None, idle=False, health=False, firmware=False, verbose=0)`,
		doc:  `What ndctl list -D says of the DIMMs → list of dicts in the order of their numbers, as vm.regions. health and firmware add what the DIMM tells of them.`,
		call: listDIMMs},
	{name: "init_labels", sig: `(dimm, *, version="1.2")`,
		doc:  `Makes an empty label area of version "1.2" or "1.1", as ndctl init-labels -f does: the regions of the DIMM are disabled first and enabled again after it → the list of them, as of vm.regions. What namespaces there were is lost. dimm is an nvdimm, its id, its name in the guest, "nmem0", or a list of those, as an interleave set needs.`,
		call: initLabels},
	{name: "result", doc: `How the latest command of this VM ended → result: of vm.run, vm.trace, vm.ndctl, vm.daxctl and what calls them. None before the first.`,
		get: func(v *vm) (starlark.Value, error) {
			if v.latest == nil {
				return starlark.None, nil
			}
			return v.latest, nil
		}},
	{name: "read_file", sig: `(path)`,
		doc: `A whole file of the guest → bytes.`,
		call: func(c *call, v *vm) (starlark.Value, error) {
			path := c.guestPath("path")
			if c.err != nil {
				return nil, c.err
			}
			data, err := v.v.ReadFile(c.ctx(), path)
			if err != nil {
				return nil, err
			}
			return starlark.Bytes(data), nil
		}},
	{name: "write_file", sig: `(path, data)`,
		doc: `Makes or replaces a file of the guest; data is bytes or text.`,
		call: func(c *call, v *vm) (starlark.Value, error) {
			path, data := c.guestPath("path"), c.data("data")
			if c.err != nil {
				return nil, c.err
			}
			return nil, v.v.WriteFile(c.ctx(), path, data)
		}},
	{name: "push", sig: `(host_path, guest_path, *, timeout="60s")`,
		doc: `Brings a file or a tree of the host into the guest, with its modes, links and holes. host_path is relative to t.dir, as a backend's is; one outside needs nvlab run --allow-path. guest_path is the name that it gets, or ends in / and is the folder that it goes to. What is there is replaced, a device is written to. Devices, sockets and pipes within a tree are left out. What does not fit the guest's memory is an error.`,
		call: func(c *call, v *vm) (starlark.Value, error) {
			host, guest, timeout := c.text("host_path"), c.guestPath("guest_path"), c.duration("timeout")
			if c.err != nil {
				return nil, c.err
			}
			return nil, v.v.Push(c.ctx(), host, guest, timeout)
		}},
	{name: "pull", sig: `(guest_path, host_path, *, timeout="60s")`,
		doc: `Brings a file or a tree of the guest to the host, with its modes (but for set-user-ID and the like), links and holes; a block device comes as a file of its size. host_path is as in vm.push; nothing is written outside it.`,
		call: func(c *call, v *vm) (starlark.Value, error) {
			guest, host, timeout := c.guestPath("guest_path"), c.text("host_path"), c.duration("timeout")
			if c.err != nil {
				return nil, c.err
			}
			return nil, v.v.Pull(c.ctx(), guest, host, timeout)
		}},
	{name: "wait", sig: `(duration)`,
		doc: `Lets the guest run for that much of its time.`,
		call: func(c *call, v *vm) (starlark.Value, error) {
			d := c.duration("duration")
			if c.err != nil {
				return nil, c.err
			}
			return nil, v.v.Wait(c.ctx(), d)
		}},
	{name: "poweroff", sig: `()`, doc: `Powers off cleanly (S5).`,
		call: func(c *call, v *vm) (starlark.Value, error) { return nil, v.v.PowerOff(c.ctx()) }},
	{name: "reboot", sig: `()`, doc: `Resets cleanly and waits until the guest answers. RAM backends keep their bytes.`,
		call: func(c *call, v *vm) (starlark.Value, error) { return nil, v.v.Reboot(c.ctx()) }},
	{name: "kill", sig: `()`, doc: `Ends the VM as kill -9 of its process would.`,
		call: func(c *call, v *vm) (starlark.Value, error) { return nil, v.v.Kill() }},
	{name: "snapshot", sig: `()`,
		doc:  `All that the VM is at this moment → snapshot: processors, memory, devices, guest clock, random streams, console text, plugged NVDIMMs with their contents and what of them is durable, armed cuts and faults. The VM is running or off, and goes on. A snapshot of a VM whose file another running VM maps is an error; so is one while a trace is being recorded.`,
		call: takeSnapshot},
	{name: "restore", sig: `(snapshot)`,
		doc:  `The VM is that again, in place, and the same calls give the same bytes as they did the first time. The snapshot is its own, or of the VM that it was forked from. What it writes to its NVDIMMs from then on goes to copies in memory; files stay as they are.`,
		call: restoreVM},
	{name: "fork", sig: `(*, seed=None)`,
		doc:  `vm.snapshot().fork(): another VM that goes on from here → vm.`,
		call: forkVM},
	{name: "nvdimms", doc: `What is plugged, in slot order → list of nvdimm. A fork has handles of its own.`,
		get: listNVDIMMs},
	{name: "nvdimm", sig: `(id)`,
		doc:  `The plugged NVDIMM with that id → nvdimm.`,
		call: findNVDIMM},
	{name: "console", sig: `()`, doc: `What the guest printed on its console so far, over all boots; lines end in "\n".`,
		call: func(c *call, v *vm) (starlark.Value, error) {
			return readable(strings.ReplaceAll(v.v.Console(), "\r\n", "\n")), nil
		}},
	{name: "dmesg", sig: `()`, doc: `The kernel's log of the running guest.`,
		call: func(c *call, v *vm) (starlark.Value, error) {
			log, err := v.v.Dmesg(c.ctx())
			if err != nil {
				return nil, err
			}
			return readable(log), nil
		}},
	{name: "state", doc: `"off", "running" or "crashed".`,
		get: func(v *vm) (starlark.Value, error) { return text(string(v.v.State())), nil }},
	{name: "engine", doc: `The engine in use: "soft" or "kvm".`,
		get: func(v *vm) (starlark.Value, error) { return text(v.v.Engine()), nil }},
	{name: "clock", doc: `Guest time since the last power-on or reset, in seconds (a float).`,
		get: func(v *vm) (starlark.Value, error) { return starlark.Float(v.v.Clock().Seconds()), nil }},
	{name: "acpi", sig: `(signature)`,
		doc: `An ACPI table as the guest gets it, by its signature such as "NFIT" → bytes. A second table of one signature is "SSDT#2".`,
		call: func(c *call, v *vm) (starlark.Value, error) {
			signature := c.text("signature")
			if c.err != nil {
				return nil, c.err
			}
			table, err := v.v.ACPI(signature)
			if err != nil {
				return nil, err
			}
			return starlark.Bytes(table), nil
		}},
	{name: "set_acpi", sig: `(signature, data, *, seal=True)`,
		doc: `The guest gets this table, bytes with their header, from the next boot on: in the place of nvlab's, or as one more; None takes it back. With seal, signature, length and checksum are made right. The machine must have strict=False.`,
		call: func(c *call, v *vm) (starlark.Value, error) {
			signature, seal := c.text("signature"), c.truth("seal")
			var data []byte
			if c.given("data") {
				data = append([]byte{}, c.data("data")...)
			}
			if c.err != nil {
				return nil, c.err
			}
			return nil, v.v.SetTable(signature, data, seal)
		}},
	{name: "nfit", sig: `()`,
		doc: `The NFIT's structures as a list of structs. Each has type (the number in the table), kind ("spa", "memdev", "interleave", "smbios", "dcr", "bdw", "flush" or "capabilities") and its fields.`,
		call: func(c *call, v *vm) (starlark.Value, error) {
			structures, err := v.v.NFIT()
			if err != nil {
				return nil, err
			}
			return listOf(structures, nfitStructure), nil
		}},
	{name: "memory_devices", sig: `()`,
		doc: `What is plugged, as QEMU's query-memory-devices tells it → list of struct(id, addr, slot, node, size, hotplugged) by slot: NVDIMMs, RAM in slots, and virtio-pmem devices, whose slot is -1. size is without the label area.`,
		call: func(c *call, v *vm) (starlark.Value, error) {
			return listOf(v.v.MemoryDevices(), func(d lab.MemoryDevice) starlark.Value {
				return record(starlark.StringDict{
					"id":         text(d.ID),
					"addr":       unsigned(d.Addr),
					"slot":       starlark.MakeInt(d.Slot),
					"node":       starlark.MakeInt(d.Node),
					"size":       unsigned(d.Size),
					"hotplugged": starlark.Bool(d.HotPlugged),
				})
			}), nil
		}},
	{name: "power_cut", sig: `(*, keep="none", save="ok")`,
		doc: `Power fails now. keep="none": only what is guaranteed durable survives; "all": all that was visible; "random": one legal state, chosen by the seed. What the platform promises is nvdimm_cap's and flush_hints' to say; without both it is ADR, as Linux assumes. The memory of RAM backends and of share=False is lost.

save="fail": the platform does not flush what it owes at a power failure. Guaranteed is then only what was there at power-on, and what was flushed and fenced before a store to a flush hint of the NVDIMM; keep chooses among what is legal under that. At the next boot each NVDIMM says so: the state flag flush_fail and, of one with a family, a dirty shutdown, which is counted if it was latched.`,
		call: powerCut},
	{name: "power_cut_on", sig: `(event, *, nth=1, keep="none", save="ok", nvdimm=None, offset=None, length=None)`,
		doc:  `Arms a power cut that strikes before the nth such event takes effect: "label_write", "store" (an aligned chunk of at most 8 bytes), "flush", "fence" (SFENCE, MFENCE) or "flush_hint". nvdimm, offset and length (of its memory, or of its label area) narrow down which count. It replaces one that is armed already. A vm.run(check=False) in progress returns with exit_code=None, a vm.boot returns as well; vm.state is "off" then.`,
		call: powerCutOn},
	{name: "notify_errors", sig: `()`,
		doc:  `Tells the guest that there are errors of the media, as a platform does that found some itself: root Notify 0x81. Linux then asks for what is known, or scrubs if hw_error_scrub says so.`,
		call: func(c *call, v *vm) (starlark.Value, error) { return nil, v.v.NotifyErrors() }},
	{name: "wait_off", sig: `(*, timeout="60s")`,
		doc: `Lets the guest run until the VM is off: because of power_cut_on, or because it powers off. An armed power cut whose event never came is an error. On a VM that is off it returns at once.`,
		call: func(c *call, v *vm) (starlark.Value, error) {
			timeout := c.duration("timeout")
			if c.err != nil {
				return nil, c.err
			}
			return nil, v.v.WaitOff(c.ctx(), timeout)
		}},
	{name: "trace", sig: `(command, *, check=True, stdin=None, timeout="60s", errexit=False)`,
		doc:  `Runs a command, as vm.run does and with its options, and records every store, flush and fence to the NVDIMMs and every label write → trace. On the software engine only: the other shows no single stores.`,
		call: vmTrace},
})

func plug(c *call, v *vm) (starlark.Value, error) {
	b := handleArg[*backend](c, "backend", "backend")
	o := lab.PlugOptions{
		ID:        c.text("id"),
		LabelSize: c.size("label_size"),
		Unarmed:   c.truth("unarmed"),
		Node:      int(c.number("node", 0, math.MaxInt32)),
		Addr:      c.optionalSize("addr"),
		UUID:      c.text("uuid"),
		Regions:   int(c.number("regions", 1, math.MaxInt32)),
		Family:    c.oneOf("family", "intel", "msft", "hyperv", "hpe1"),
		Identity: nvdimm.Identity{
			Vendor:     integer[uint16](c, "vendor_id"),
			Device:     integer[uint16](c, "device_id"),
			Revision:   integer[uint16](c, "revision"),
			Serial:     integer[uint32](c, "serial"),
			Handle:     integer[uint32](c, "handle"),
			PhysicalID: integer[uint16](c, "physical_id"),
		},
	}
	if slot := c.optional("slot", 0, math.MaxInt32); slot != nil {
		n := int(*slot)
		o.Slot = &n
	}
	if c.err != nil {
		return nil, c.err
	}
	o.Backend = b.b
	d, err := v.v.Plug(o)
	if err != nil {
		return nil, err
	}
	durability := b.b.Durability()
	suggestion := ""
	if !durability.Persistent() && !o.Unarmed {
		suggestion = "; unarmed=True tells the guest"
	}
	if promise := fmt.Sprintf("%s: guest writes %s%s", durability, durability.Promise(), suggestion); v.t.first(promise) {
		v.t.note(c.thread, "%s: %s, %s", d.ID(), b.made, promise)
	}
	if lost := b.b.Size() - o.LabelSize - d.Size(); lost > 0 {
		v.t.note(c.thread, "%s: %s at the end of its memory are out of the guest's reach: what the guest sees is a multiple of %s", d.ID(), sizeOrBytes(lost), FormatSize(b.b.Align()))
	}
	h := &dimm{v, d, b, c.paste("vm.plug")}
	v.dimms = append(v.dimms, h)
	return h, nil
}

// integer is an unsigned number that an argument holds, nil for None.
func integer[U uint16 | uint32](c *call, name string) *U {
	n := c.optional(name, 0, int64(^U(0)))
	if n == nil {
		return nil
	}
	u := U(*n)
	return &u
}

// dimmsArg is a list of NVDIMMs.
func dimmsArg(c *call, name string) (list []*lab.NVDIMM) {
	v := c.value(name)
	seq, ok := v.(starlark.Sequence)
	if v != nil && !ok {
		c.wrong(name, v, "list of nvdimms")
	}
	if v == nil || !ok {
		return nil
	}
	for e := range starlark.Elements(seq) {
		d, ok := e.(*dimm)
		if !ok {
			c.refuse(name, v, "every element must be an nvdimm, got %s", e.Type())
			return nil
		}
		list = append(list, d.d)
	}
	return list
}

// command is a string for sh -c, or a list.
func (c *call) command(name string) (shell string, args []string) {
	v := c.value(name)
	switch v := v.(type) {
	case nil:
	case starlark.String:
		switch {
		case strings.TrimSpace(string(v)) == "":
			c.err = fmt.Errorf("%s is empty", name)
		case strings.ContainsRune(string(v), 0):
			c.refuse(name, v, "a command cannot hold the byte 0")
		}
		return string(v), nil
	case *starlark.List, starlark.Tuple:
		if args = c.texts(name); c.err == nil && len(args) == 0 {
			c.err = fmt.Errorf("%s is an empty list", name)
		}
		if c.err == nil && strings.ContainsRune(strings.Join(args, ""), 0) {
			c.refuse(name, v, "a command cannot hold the byte 0")
		}
		return "", args
	default:
		c.wrong(name, v, "string (for sh -c) or list of strings")
	}
	return "", nil
}

// guestPath is an absolute path.
func (c *call) guestPath(name string) string {
	path := c.text(name)
	if c.err == nil && !strings.HasPrefix(path, "/") {
		c.err = fmt.Errorf(`%s = %q: want an absolute path in the guest, such as "/tmp/x"`, name, path)
	}
	return path
}

// runnable is the command of vm.run and vm.trace, with its options.
func (c *call) runnable() lab.Command {
	shell, args := c.command("command")
	command := lab.Command{Shell: shell, Args: args, Stdin: c.data("stdin"), Timeout: c.duration("timeout"), Check: c.truth("check"), ErrExit: c.truth("errexit")}
	if c.err == nil && command.ErrExit && args != nil {
		c.err = errors.New("errexit = True is for a string, which a shell runs: a list is one program")
	}
	return command
}

func runCommand(c *call, v *vm) (starlark.Value, error) {
	command := c.runnable()
	if c.err != nil {
		return nil, c.err
	}
	r, err := v.command(c, command)
	if err != nil {
		return nil, err
	}
	return r, nil
}

// command runs a command in the guest and keeps how it ended.
func (v *vm) command(c *call, command lab.Command) (*result, error) {
	if command.Check {
		activityOf(c.thread).t.judge()
	}
	r, err := v.v.Run(c.ctx(), command)
	if r != nil {
		v.latest = &result{r: r, command: command.String()}
		activityOf(c.thread).latest = v.latest
	}
	if err != nil {
		return nil, err
	}
	return v.latest, nil
}
