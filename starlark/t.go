package nvstar

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"path/filepath"
	"strings"

	"go.starlark.net/starlark"

	"nvlab/lab"
	"nvlab/starlark/guard"
)

// T is the value that a test takes: what it makes hangs off it and ends with
// it.
type T struct {
	ctx      context.Context // the run's
	env      Env
	parent   *T
	name     string
	dir      string
	x        *lab.Experiment
	sources  *sources
	kwargs   []starlark.Tuple // its function is called with, beside t
	deferred []starlark.Callable
	subs     map[string]int
	ended    bool

	cleaning   bool // its deferred functions run
	redeferred int  // functions that these deferred

	xfail       string
	assumed     bool   // a power cut said what it goes by
	applied     *state // the latest crash state that was
	reached     bool   // it, or a subtest, looked at the crash state that was asked for
	elsewhere   string // why another trace does not have it
	sawExpected bool   // it or a subtest failed as expected
	skipped     bool
	subFailed   bool
	used        used
	judged      bool // a check ran, or a command that must end well
	noted       map[string]bool
	failures    []*Failure
	outcome     Outcome
}

func (t *T) alive() error {
	if t.ended {
		return fmt.Errorf("%w (%s)", lab.ErrClosed, t.name)
	}
	return nil
}

func (t *T) String() string                           { return fmt.Sprintf("t(name = %q)", t.name) }
func (t *T) Type() string                             { return "t" }
func (t *T) Freeze()                                  {}
func (t *T) Truth() starlark.Bool                     { return true }
func (t *T) Hash() (uint32, error)                    { return hashText(t.name), nil }
func (t *T) Attr(name string) (starlark.Value, error) { return tClass.attr(t, name) }
func (t *T) AttrNames() []string                      { return tClass.attrNames() }

func hashText(s string) uint32 {
	h := fnv.New32a()
	h.Write([]byte(s))
	return h.Sum32()
}

var tClass = newClass("t", "The test that runs. Every top-level function whose name starts with test_ is one, and takes t. What hangs off t ends with the test.", []member[*T]{
	{name: "backend_file", sig: `(*, path, size, share=True, align=None, readonly=False, offset=0, pmem=False, partial=False, lock=True)`,
		doc: `A file that stores an NVDIMM's bytes (memory-backend-file) → backend. The file is created when absent. One that has data is never truncated or extended: if it is smaller than offset+size that is an error, and if it is larger as well, unless partial=True. With share=False guest writes stay in memory. A relative path is relative to t.dir.

align: a power of two, of the address and size of what is plugged; 4 KiB if None. readonly: neither guest nor host writes; the file must be there, and vm.plug needs unarmed=True. offset: of the backend within the file, a multiple of 4 KiB. pmem: map with MAP_SYNC, with share=True on a file system with DAX; elsewhere a warning. path may be a device-DAX device such as "/dev/dax0.0", which needs share=True and the device's align, mostly "2MiB"; a file on hugetlbfs is aligned to its pages and made of whole ones. lock: a file that another process of nvlab writes is refused; with False both write it, and the test's output says so.`,
		call: backendFile},
	{name: "backend_ram", sig: `(*, size, share=False, align=None)`,
		doc:  `Memory that stores an NVDIMM's bytes (memory-backend-ram) → backend. It survives a reboot, not a power-off.`,
		call: backendRAM},
	{name: "vm", sig: `(*, memory="256MiB", slots=0, maxmem=None, cpus=1, nvdimm=True, nvdimm_cap=None, nvdimm_persistence=None, flush_hints=0, kernel=None, release=None, cmdline="", packages=[], engine=None, seed=0, oops="fail", strict=True, ars=False, machine_check=False, numa=[], phys_bits=40, pcie=None)`,
		doc: `A machine, off → vm.

memory, maxmem: sizes; slots: how many memory devices fit. cpus: 1 to 8; on engine "soft" the seed decides how they interleave. nvdimm=False refuses every plug. nvdimm_cap is the combined bits of the platform capabilities (bit 0 without bit 1, or an undefined bit, is an error); nvdimm_persistence="cpu" is 3, "mem-ctrl" is 2. kernel names a guest (see nvlab guest list), a package or a path, None is the installed default. release is the release of Debian that kernel and packages come from, "bullseye" to "sid", None is the default guest's; kernel="linux-image-amd64@bullseye" is a kernel of another. cmdline is appended to the kernel's. packages are Debian packages whose files, and those of what they depend on, the guest has besides; one that holds a slash, such as "./x.deb", is a file of the host, which comes before a package of its name. src:NAME is a source package: what upstream released, without Debian's changes, is at /usr/src/NAME. What they bring is what runs; busybox fills the gaps. Documentation is left out, but for the examples of libraries (packages whose name ends in -dev). Their maintainer scripts are not run: there are no users, caches or services of theirs, but alternatives such as awk are linked. engine is "soft", "kvm" or None (the command line's). oops="allow" lets the test go on after a kernel oops or panic and judge it. strict=False lets malformed firmware through. flush_hints is how many flush-hint addresses each NVDIMM has.

ars=True, or struct(seconds=1, records=168, clear_unit=256), gives the root device its functions for errors of the media, 1 to 9: how long a scrub takes in guest time, how many errors one reply tells of, and how many bytes are cleared at once. machine_check=True has the processors report a load of poison, before it has any effect: the kernel's handler makes EIO or SIGBUS of that, and a bad block. It wants engine "soft", and a kernel with CONFIG_X86_MCE and CONFIG_MEMORY_FAILURE. Without it loads give the bytes as they were.

numa is a list of what is on each NUMA node: struct(memory, cpus, distances, latency, bandwidth), of which all may be left out. memory is a part of the machine's, which the nodes together have all of; cpus is a list of numbers from 0, and CPUs of two nodes are in packages of their own; distances is a list, to each node, 10 to itself (SLIT). latency in nanoseconds and bandwidth in bytes a second ("10GiB") are of access to what is on the node, RAM or NVDIMM; each is one value, or a list of them from each of the nodes with CPUs (HMAT). Without, all is on node 0, and the highest node of what is plugged says how many there are.

phys_bits, 36 to 52, is how many bits a physical address has, and so how much memory there can be: 40 reach 1 TiB. Linux uses 46 at most, of processors without five levels of page tables.

pcie=True gives the machine a PCI Express host bridge and a root port, which cost boot time. None is True if the kernel's command line has memmap=, as Linux makes a persistent region (memmap=256M!384M: provider e820) or soft-reserved memory (memmap=256M%384M-1+0xefffffff: dax_hmem) of RAM only on a machine with PCI. Such memory is RAM: power cuts and traces know nothing of it.`,
		call: newVM},
	{name: "dir", doc: `The test's fresh directory. Relative paths are relative to it.`,
		get: func(t *T) (starlark.Value, error) { return starlark.String(t.dir), nil }},
	{name: "name", doc: `The test's name, such as "test_x/sub".`,
		get: func(t *T) (starlark.Value, error) { return starlark.String(t.name), nil }},
	{name: "log", sig: `(*values)`,
		doc: `Writes the values to the test's output, which is shown with -v or if the test fails.`,
		call: func(c *call, t *T) (starlark.Value, error) {
			if err := guard.Printable(c.rest...); err != nil {
				return nil, err
			}
			t.print(c.thread, joined(c.rest))
			return nil, nil
		}},
	{name: "skip", sig: `(reason)`,
		doc: `Ends the test: it does not apply.`,
		call: func(c *call, t *T) (starlark.Value, error) {
			reason := c.reason()
			if c.err != nil {
				return nil, c.err
			}
			return nil, &skipError{reason}
		}},
	{name: "xfail", sig: `(reason)`,
		doc: `Says that the test is expected to fail, because of a known bug for example. A failure is then reported as a skip with its reason; a pass is a failure, "unexpected pass". It never covers a guest that did not boot, a failed host or a bug in nvlab.`,
		call: func(c *call, t *T) (starlark.Value, error) {
			reason := c.reason()
			if c.err != nil {
				return nil, c.err
			}
			t.xfail = reason
			return nil, nil
		}},
	{name: "needs", sig: `(*, kernel=None, release=None, engine=None)`,
		doc: `Skips the test, with the reason, unless the default guest's kernel and the engine are as wanted: kernel=">=6.1.178" (>=, >, <=, <, ==, != and several joined by commas), engine="soft" or "kvm".
With the name of a kernel's package, kernel="linux-image-6.1.0-53-cloud-amd64" or PACKAGE=VERSION, it skips if that can be had neither from the store of guests nor from the archive; t.vm(kernel=...) then takes the same name. release="trixie" asks the same of that release's kernel, or of the one that is named.`,
		call: needs},
	{name: "defer", sig: `(fn)`,
		doc: `Calls fn() when the test ends, however it ends; the last deferred is called first. Each call has a test's budget of steps. An end of the whole run leaves out what has not been called yet, and the test fails.`,
		call: func(c *call, t *T) (starlark.Value, error) {
			fn := c.function("fn")
			if c.err != nil {
				return nil, c.err
			}
			return nil, t.later(fn)
		}},
	{name: "pause", sig: `()`,
		doc: `Stops here and gives a prompt of the language, if the run has -pause, with the VMs as they are. Without, it does nothing.`,
		call: func(c *call, t *T) (starlark.Value, error) {
			if a := activityOf(c.thread); t.env.Pause != nil && !a.recovers {
				a.stand(c.thread, "")
			}
			return nil, nil
		}},
	{name: "run", sig: `(name, fn)`,
		doc:  `Runs fn(t) as a subtest with a t of its own, and returns whether it did not fail. A subtest that fails fails its test, which goes on. The consoles, kernel logs and backends that it used are kept with it, those of machines of its test as well.`,
		call: runSub},
})

// reason is the argument of that name, which must say something.
func (c *call) reason() string {
	reason := c.text("reason")
	if c.err == nil && strings.TrimSpace(reason) == "" {
		c.err = errors.New("reason is empty: say why")
	}
	return reason
}

// print writes text to the test's output, with the line that asked for it.
func (t *T) print(thread *starlark.Thread, text string) {
	t.env.Watcher.Output(t.name, strings.ToValidUTF8(located(thread, text), "\ufffd")+"\n") // print writes bytes as they are
}

// located is text behind the line that called a built-in.
func located(thread *starlark.Thread, text string) string {
	if thread.CallStackDepth() < 2 {
		return text
	}
	pos := thread.CallFrame(1).Pos
	return fmt.Sprintf("%s:%d: %s", pos.Filename(), pos.Line, text)
}

// first says that a test, with its subtests, had no use for a text before.
func (t *T) first(text string) bool {
	for t.parent != nil {
		t = t.parent
	}
	if t.noted == nil {
		t.noted = make(map[string]bool)
	}
	defer func() { t.noted[text] = true }()
	return !t.noted[text]
}

// note is print with -v.
func (t *T) note(thread *starlark.Thread, format string, args ...any) {
	if t.env.Verbose {
		t.print(thread, fmt.Sprintf(format, args...))
	}
}

func joined(values starlark.Tuple) string {
	texts := make([]string, len(values))
	for i, v := range values {
		if s, ok := starlark.AsString(v); ok {
			texts[i] = s
		} else {
			texts[i] = v.String()
		}
	}
	return strings.Join(texts, " ")
}

func runSub(c *call, t *T) (starlark.Value, error) {
	name, fn := c.text("name"), c.function("fn")
	if fn, ok := fn.(*starlark.Function); ok && c.err == nil && len(casesOf(fn)) > 0 {
		c.err = fmt.Errorf("fn has cases, which only a test at the top level can have: call t.run for each value")
	}
	if c.err != nil {
		return nil, c.err
	}
	sub := &T{ctx: t.ctx, env: t.env, parent: t, name: t.name + "/" + t.subName(name), sources: t.sources}
	if !t.env.Watcher.Match(sub.name) {
		return starlark.True, nil
	}
	ctx := c.ctx()
	outcome := sub.execute(c.thread, fn)
	if outcome.Status == Failed {
		t.subFailed = true
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return starlark.Bool(outcome.Status != Failed), nil
}

// subName is a subtest's name as Go's testing package makes it, with a number if
// it has none or if it is taken.
func (t *T) subName(name string) string {
	name = levelName(name)
	if t.subs == nil {
		t.subs = make(map[string]int)
	}
	take := func(full string) bool {
		_, taken := t.subs[full]
		if !taken {
			t.subs[full] = 1
		}
		return !taken
	}
	if name != "" && take(name) {
		return name
	}
	for {
		full := fmt.Sprintf("%s#%02d", name, t.subs[name])
		t.subs[name]++
		if take(full) {
			return full
		}
	}
}

func backendFile(c *call, t *T) (starlark.Value, error) {
	o := lab.FileBackendOptions{
		Path:     c.text("path"),
		Size:     c.size("size"),
		Share:    c.truth("share"),
		Align:    c.size("align"),
		ReadOnly: c.truth("readonly"),
		Offset:   c.size("offset"),
		PMem:     c.truth("pmem"),
		Partial:  c.truth("partial"),
		Unlocked: !c.truth("lock"),
	}
	if c.err == nil && o.Path == "" {
		c.err = errors.New(`path is empty: want the name of a file, such as "pmem0.img"`)
	}
	if c.err != nil {
		return nil, c.err
	}
	b, err := t.x.FileBackend(o)
	if err != nil {
		return nil, err
	}
	if o.Share && !o.ReadOnly && !t.owns(b.Path()) {
		if err := t.env.Watcher.Opened(c.ctx(), b.Path()); err != nil {
			return nil, err
		}
	}
	if b.Contended() {
		t.print(c.thread, "warning: "+b.Path()+": another process writes the file as well: its bytes may change at any time")
	}
	if w := b.Warning(); w != "" {
		t.print(c.thread, "warning: "+w)
	}
	return &backend{t, b, c.paste("t.backend_file")}, nil
}

// owns says that a file is in the test's directory.
func (t *T) owns(path string) bool {
	rel, err := filepath.Rel(t.dir, path)
	return err == nil && filepath.IsLocal(rel)
}

func backendRAM(c *call, t *T) (starlark.Value, error) {
	o := lab.RAMBackendOptions{Size: c.size("size"), Share: c.truth("share"), Align: c.size("align")}
	if c.err != nil {
		return nil, c.err
	}
	b, err := t.x.RAMBackend(o)
	if err != nil {
		return nil, err
	}
	return &backend{t, b, c.paste("t.backend_ram")}, nil
}

func newVM(c *call, t *T) (starlark.Value, error) {
	o := lab.VMOptions{
		Memory:       c.size("memory"),
		Slots:        int(c.number("slots", 0, math.MaxInt32)),
		MaxMem:       c.size("maxmem"),
		CPUs:         int(c.number("cpus", 1, math.MaxInt32)),
		NoNVDIMM:     !c.truth("nvdimm"),
		Cap:          c.optional("nvdimm_cap", 0, math.MaxUint32),
		Persistence:  c.oneOf("nvdimm_persistence", "cpu", "mem-ctrl"),
		FlushHints:   int(c.number("flush_hints", 0, math.MaxInt32)),
		Kernel:       c.text("kernel"),
		Release:      c.text("release"),
		Cmdline:      c.text("cmdline"),
		Packages:     c.texts("packages"),
		Engine:       c.oneOf("engine", "soft", "kvm"),
		Seed:         uint64(c.number("seed", 0, math.MaxInt64)),
		AllowOops:    c.oneOf("oops", "fail", "allow") == "allow",
		Malformed:    !c.truth("strict"),
		ARS:          c.ars("ars"),
		MachineCheck: c.truth("machine_check"),
		NUMA:         c.numa("numa"),
		PhysBits:     int(c.number("phys_bits", lab.MinPhysBits, lab.MaxPhysBits)),
		PCIe:         c.optionalTruth("pcie"),
	}
	if c.err == nil && c.given("maxmem") && o.MaxMem == 0 {
		c.err = errors.New("maxmem = 0: it must be at least the memory size; None is no room for memory devices")
	}
	if c.err != nil {
		return nil, c.err
	}
	v, err := t.x.VM(o)
	if err != nil {
		return nil, err
	}
	return &vm{t: t, v: v, made: c.paste("t.vm")}, nil
}
