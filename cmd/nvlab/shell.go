package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/term"

	"nvlab/internal/spell"
	"nvlab/lab"
	nvstar "nvlab/starlark"
	nvrun "nvlab/starlark/run"
)

var shellCommand = &command{
	name:  "shell",
	args:  "[flags] [--state ID FILE...] [--snapshot ID FILE...]",
	short: "boot a machine and give a shell in its guest",
	long: `Boots a machine and gives a shell in its guest. exit, Ctrl-D and Ctrl-A X leave it,
Ctrl-A Ctrl-A sends a Ctrl-A. Commands may come from a pipe, at whose end the shell ends.
The flags are the options of t.vm and vm.plug, for example:

  nvlab shell --slots 1 --maxmem 4G --nvdimm path=pmem0.img,size=64M,label-size=128K

With --state the machine is that of a scenario's test, as a power failure left it:
the test runs up to the trace that has the crash state, and the shell is in its VM,
which boots from there. With --snapshot it is a test's VM as vm.snapshot() of that id
found it, with the processes and mounts of then. The flags of machines do not count
then; -run names the test.`,
}

// shellOptions are a machine and its DIMMs, as text.
type shellOptions struct {
	lab            lab.Options
	memory, maxmem string
	capability     string
	nvdimms        list
	vm             lab.VMOptions

	state, snapshot string // a crash state or a snapshot of
	run             string // the test
	allow           list   // with one of these, as of nvlab run
	steps           uint64 // likewise
}

// place is where in a scenario the shell is to be, as it was given; "" if it is in none.
func (o *shellOptions) place() string {
	switch {
	case o.state != "":
		return "--state " + o.state
	case o.snapshot != "":
		return "--snapshot " + o.snapshot
	}
	return ""
}

func init() {
	shellCommand.run = func(ctx context.Context, c *command, args []string) int {
		o := shellOptions{vm: lab.VMOptions{}}
		fs := c.flags()
		fs.StringVar(&o.memory, "memory", "256MiB", "`SIZE` of RAM")
		fs.IntVar(&o.vm.Slots, "slots", 0, "`N` memory slots; as many as DIMMs if not given")
		fs.StringVar(&o.maxmem, "maxmem", "", "`SIZE` of RAM and NVDIMMs; what is needed if not given")
		fs.StringVar(&o.capability, "nvdimm-cap", "", "`BITS` of the platform capabilities")
		fs.StringVar(&o.vm.Persistence, "nvdimm-persistence", "", "`cpu|mem-ctrl`: nvdimm-cap by name")
		fs.StringVar(&o.vm.Cmdline, "cmdline", "", "`TEXT` added to the kernel's command line")
		fs.Uint64Var(&o.vm.Seed, "seed", 0, "derive all randomness from `N`")
		fs.Var((*list)(&o.vm.Packages), "package", "add the files of `PACKAGE`, of ./FILE.deb or src:SOURCE, to the guest; may be repeated")
		fs.StringVar(&o.state, "state", "", "boot from the crash state `ID` of a test of FILE: see trace.crash_states and trace.explore")
		fs.StringVar(&o.snapshot, "snapshot", "", "go to the snapshot `ID` that a test of FILE takes: what vm.snapshot().id is")
		fs.StringVar(&o.run, "run", "", "with --state or --snapshot, the test whose name matches `RE`")
		fs.Var(&o.allow, "allow-path", "with --state or --snapshot, let backends lie in `DIR`, too; may be repeated")
		fs.Uint64Var(&o.steps, "max-steps", 0, "with --state or --snapshot, as of nvlab run")
		fs.Var(&o.nvdimms, "nvdimm", "`path=FILE,size=SIZE[,label-size=SIZE][,share=on|off][,unarmed=on|off][,id=ID]`: plug a DIMM; may be repeated")
		c.machineFlags(fs, &o.lab.Engine, &o.lab.Kernel, &o.lab.Release, &o.lab.Cache, &o.lab.Agent)
		operands, status, ok := c.parse(fs, args)
		switch {
		case !ok:
			return status
		case o.state != "" && o.snapshot != "":
			return c.misused("--state and --snapshot: want one of them")
		case len(operands) > 0 && o.place() == "":
			return c.misused("it takes flags only, and with --state or --snapshot the scenario")
		case len(operands) == 0 && o.place() != "":
			return c.misused("%s: of which scenario? want FILE", o.place())
		case o.place() == "" && o.run != "":
			return c.misused("-run %s: want --state or --snapshot with it", o.run)
		case o.place() == "" && o.allow != nil:
			return c.misused("--allow-path %s: want --state or --snapshot with it; --nvdimm takes any path", o.allow[0])
		case o.place() == "" && o.steps > 0:
			return c.misused("--max-steps %d: want --state or --snapshot with it", o.steps)
		}
		if o.snapshot != "" {
			if err := nvstar.CheckSnapshot(o.snapshot); err != nil {
				return c.misused("--snapshot %v", err)
			}
		}
		if err := cmp.Or(checkState(o.state), checkMachine(o.lab.Engine, o.lab.Kernel, o.lab.Release)); err != nil {
			return c.misused("%v", err)
		}
		if err := checkFiles(o.vm.Packages); err != nil {
			return c.misused("%v", err)
		}
		if o.place() != "" {
			return o.inTest(ctx, operands)
		}
		dimms, err := o.complete()
		if err != nil {
			return c.misused("%v", err)
		}
		if err := o.interact(ctx, dimms); err != nil {
			var bad *refusedError
			if errors.As(err, &bad) {
				return c.misused("%v", err)
			}
			var guest *lab.Error
			if errors.As(err, &guest) && guest.Console != "" {
				fmt.Fprintf(os.Stderr, "%s\n", guest.Console)
			}
			return c.failed(ctx, nvstar.ExitOf(err), err)
		}
		return exitOK
	}
}

// refusedError is of flags whose values no machine can have together.
type refusedError struct{ error }

func (e *refusedError) Unwrap() error { return e.error }

// A shellDIMM is one flag --nvdimm.
type shellDIMM struct {
	backend lab.FileBackendOptions
	plug    lab.PlugOptions
}

// complete reads the sizes, and gives slots and maxmem the values that the
// DIMMs need.
func (o *shellOptions) complete() ([]shellDIMM, error) {
	var err error
	if o.vm.Memory, err = nvstar.ParseSize(o.memory); err != nil {
		return nil, fmt.Errorf("--memory %w", err)
	}
	if o.capability != "" {
		bits, err := strconv.ParseInt(o.capability, 0, 64)
		if err != nil {
			return nil, fmt.Errorf("--nvdimm-cap %s: want a number", o.capability)
		}
		o.vm.Cap = &bits
	}
	need := o.vm.Memory
	var dimms []shellDIMM
	for _, text := range o.nvdimms {
		d, err := parseDIMM(text)
		if err != nil {
			return nil, fmt.Errorf("--nvdimm %s: %w", text, err)
		}
		need += d.backend.Size
		dimms = append(dimms, d)
	}
	if len(dimms) > 0 && o.vm.Slots == 0 {
		o.vm.Slots = len(dimms)
	}
	switch {
	case o.maxmem != "":
		if o.vm.MaxMem, err = nvstar.ParseSize(o.maxmem); err != nil {
			return nil, fmt.Errorf("--maxmem %w", err)
		}
	case o.vm.Slots > 0:
		o.vm.MaxMem = need + uint64(max(0, o.vm.Slots-len(dimms)))<<30 // an empty slot has room for 1 GiB
	}
	return dimms, nil
}

// parseDIMM reads path=pmem0.img,size=64M,label-size=128K.
func parseDIMM(text string) (shellDIMM, error) {
	d := shellDIMM{backend: lab.FileBackendOptions{Share: true}}
	keys := []string{"path", "size", "label-size", "share", "unarmed", "id"}
	for pair := range strings.SplitSeq(text, ",") {
		key, value, ok := strings.Cut(pair, "=")
		if !ok {
			return d, fmt.Errorf("%q is no KEY=VALUE", pair)
		}
		var err error
		switch key {
		case "path":
			d.backend.Path = value
		case "id":
			d.plug.ID = value
		case "size":
			d.backend.Size, err = nvstar.ParseSize(value)
		case "label-size":
			d.plug.LabelSize, err = nvstar.ParseSize(value)
		case "share":
			d.backend.Share, err = onOff(value)
		case "unarmed":
			d.plug.Unarmed, err = onOff(value)
		default:
			meant := ""
			if near := spell.Nearest(key, keys); near != "" {
				meant = fmt.Sprintf(" (did you mean %s?)", near)
			}
			return d, fmt.Errorf("there is no key %q%s", key, meant)
		}
		if err != nil {
			return d, fmt.Errorf("%s: %w", key, err)
		}
	}
	switch {
	case d.backend.Path == "":
		return d, errors.New("path= is missing")
	case d.backend.Size == 0:
		info, err := os.Stat(d.backend.Path)
		if err != nil {
			return d, errors.New("size= is missing, and there is no such file yet")
		}
		d.backend.Size = uint64(info.Size())
	}
	return d, nil
}

func onOff(s string) (bool, error) {
	switch s {
	case "on":
		return true, nil
	case "off":
		return false, nil
	}
	return false, fmt.Errorf("%q: want on or off", s)
}

// interact boots the machine and connects the terminal to it.
func (o *shellOptions) interact(ctx context.Context, dimms []shellDIMM) error {
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	o.lab.AllowPaths = []string{"/"}
	o.lab.Progress = progress()
	l, err := lab.New(o.lab)
	if err != nil {
		return err
	}
	x := l.Experiment("shell", dir)
	defer x.Close()
	vm, err := o.machine(x, dimms)
	switch {
	case err != nil && lab.ClassOf(err) == lab.ClassScenario:
		return &refusedError{err}
	case err != nil:
		return err
	}
	engine, why := l.Engine()
	fmt.Fprintf(os.Stderr, "engine: %s (%s); exit, Ctrl-D or Ctrl-A X leaves\n", engine, why)
	if err := l.Prepare(ctx); err != nil {
		return err
	}
	return connect(ctx, vm)
}

// inTest gives a shell in the VM of a test that came to a crash state or a snapshot.
func (o *shellOptions) inTest(ctx context.Context, files []string) int {
	came := false
	status := nvrun.Run(ctx, nvrun.Options{
		Paths: files, Run: o.run, State: o.state, Snapshot: o.snapshot, Parallel: 1,
		Reached: func(ctx context.Context, at *nvstar.Reached) error {
			came = true
			fmt.Fprintf(os.Stderr, "the guest boots from crash state %s; exit, Ctrl-D or Ctrl-A X leaves\n", o.state)
			return connect(ctx, at.VM)
		},
		AtSnapshot: func(ctx context.Context, vm *lab.VM) error {
			came = true
			fmt.Fprintf(os.Stderr, "the VM is at snapshot %s; exit, Ctrl-D or Ctrl-A X leaves\n", o.snapshot)
			return connect(ctx, vm)
		},
		Engine: o.lab.Engine, Kernel: o.lab.Kernel, Release: o.lab.Release, Cache: o.lab.Cache, Agent: o.lab.Agent, Seed: o.vm.Seed, Cmdline: o.vm.Cmdline,
		AllowPaths: o.allow, Steps: o.steps, Stdout: os.Stderr, Stderr: os.Stderr, Progress: progress(),
	})
	if o.snapshot != "" && !came && ctx.Err() == nil {
		fmt.Fprintf(os.Stderr, "nvlab shell: no test came to snapshot %s: want the seed, kernel and engine with which it was taken\n", o.snapshot)
		if status == exitOK {
			return exitFail
		}
	}
	return status
}

// connect gives the terminal a shell in a VM, which boots if it is off.
func connect(ctx context.Context, vm *lab.VM) error {
	if in := int(os.Stdin.Fd()); term.IsTerminal(in) {
		before, err := term.MakeRaw(in)
		if err != nil {
			return err
		}
		defer term.Restore(in, before)
	}
	resized, stop := windowChanges()
	defer stop()
	terminal := lab.Terminal{In: os.Stdin, Out: os.Stdout, Name: os.Getenv("TERM"), Size: windowSize, Resized: resized}
	if vm.State() == lab.Off {
		return vm.Interact(ctx, terminal)
	}
	return vm.Shell(ctx, terminal)
}

// windowSize is the size of the terminal's window, 0 if there is none.
func windowSize() (rows, cols int) {
	cols, rows, err := term.GetSize(int(os.Stdout.Fd()))
	if err != nil {
		return 0, 0
	}
	return rows, cols
}

// windowChanges says when the window has another size, until stop is called.
func windowChanges() (changes <-chan struct{}, stop func()) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGWINCH)
	out := make(chan struct{}, 1)
	go func() {
		for range signals {
			select {
			case out <- struct{}{}:
			default: // one is on its way
			}
		}
	}()
	return out, func() {
		signal.Stop(signals)
		close(signals)
	}
}

// machine is the VM with its DIMMs, off.
func (o *shellOptions) machine(x *lab.Experiment, dimms []shellDIMM) (*lab.VM, error) {
	vm, err := x.VM(o.vm)
	if err != nil {
		return nil, err
	}
	for _, d := range dimms {
		if d.plug.Backend, err = x.FileBackend(d.backend); err != nil {
			return nil, err
		}
		if _, err := vm.Plug(d.plug); err != nil {
			return nil, err
		}
	}
	return vm, nil
}
