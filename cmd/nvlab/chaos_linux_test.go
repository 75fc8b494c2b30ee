package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nvlab/guest"
	"nvlab/vmm/boot"
)

// TestChaos runs nvlab again and again, for as long as NVLAB_CHAOS says, and does
// to it what befalls a program: guests run hostile commands, the disk fills, a
// backend shrinks, files of the store are damaged, nvlab is killed or
// interrupted. After each round nothing is lost and nothing is left behind, and
// the exit status is one that the round can have. All follows from NVLAB_SEED,
// but for when a signal strikes.
func TestChaos(t *testing.T) {
	text := os.Getenv("NVLAB_CHAOS")
	if text == "" {
		t.Skip("NVLAB_CHAOS=1h runs it for an hour")
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	seed := uint64(1)
	if text := os.Getenv("NVLAB_SEED"); text != "" {
		fmt.Sscan(text, &seed)
	}
	c := newChaos(t)
	did := map[string]int{}
	for end := time.Now().Add(d); time.Now().Before(end) && !t.Failed(); seed++ {
		c.random = rand.New(rand.NewPCG(seed, 0))
		kind := chaosRounds[c.random.IntN(len(chaosRounds))]
		did[kind.name]++
		start := time.Now()
		what := kind.do(c)
		t.Logf("NVLAB_SEED=%d %s: %s (%.1fs)", seed, kind.name, what, time.Since(start).Seconds())
	}
	t.Logf("rounds: %v", did)
	// The guest is what it was, and the store holds nothing else.
	run := c.nvlab(chaosRun{args: []string{"guest", "prune"}})
	run.want(t, 0)
	if left := c.left(c.cache, "tmp"); left != nil {
		t.Errorf("prune left %q in the store", left)
	}
}

var chaosRounds = []struct {
	name string
	do   func(*chaos) string
}{
	{"hostile guest", (*chaos).hostileGuest},
	{"hostile guest", (*chaos).hostileGuest},
	{"killed", (*chaos).killed},
	{"interrupted", (*chaos).interrupted},
	{"full disk", (*chaos).fullDisk},
	{"shrinking backend", (*chaos).shrinkingBackend},
	{"damaged store", (*chaos).damagedStore},
	{"damaged state", (*chaos).damagedState},
}

// chaos is a store and a temporary folder of one's own.
type chaos struct {
	t       *testing.T
	random  *rand.Rand
	program string // a name of this program that makes it nvlab
	cache   string
	tmp     string
	work    string
	guest   string // name of the default guest
}

func newChaos(t *testing.T) *chaos {
	c := &chaos{t: t, cache: t.TempDir(), tmp: t.TempDir(), work: t.TempDir()}
	store, err := guest.Open("")
	if err != nil {
		t.Fatal(err)
	}
	store.Vmlinux = boot.Decompress
	im, err := store.Ensure(context.Background(), guest.Spec{}, progress())
	if err == nil {
		_, err = store.Agent(context.Background(), progress())
	}
	if err != nil {
		t.Fatal(err)
	}
	defer im.Close()
	c.guest = im.Name
	// What is damaged is a copy.
	for _, part := range []string{"guests/" + im.Name, "guests/default", "agents", "lists", "downloads"} {
		if err := copyTree(filepath.Join(store.Dir(), part), filepath.Join(c.cache, part)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(c.cache, "guests/default"), []byte(im.Name+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c.program = filepath.Join(t.TempDir(), "nvlab")
	if err := os.Symlink(self, c.program); err != nil {
		t.Fatal(err)
	}
	return c
}

func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(name string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		rel, err := filepath.Rel(from, name)
		if err != nil {
			return err
		}
		b, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // another nvlab's, which is at work
		}
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		to := filepath.Join(to, rel)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		return os.WriteFile(to, b, info.Mode().Perm())
	})
}

// A chaosRun is one process of nvlab.
type chaosRun struct {
	args   []string
	env    []string
	blocks int // of 512 bytes, how large a file may be; 0 is without bound
	disk   int // KiB that the temporary folder may take; 0 is without bound
	during func(p *os.Process)
	cmd    *exec.Cmd
	output bytes.Buffer
}

// nvlab runs it to its end. No process of it may be left.
func (c *chaos) nvlab(r chaosRun) *chaosRun {
	c.t.Helper()
	argv := append([]string{c.program}, r.args...)
	if r.disk > 0 {
		argv = append([]string{"unshare", "-m", "sh", "-c", fmt.Sprintf(`mount -t tmpfs -o size=%dk nvlab "$TMPDIR" && exec "$@"`, r.disk), "sh"}, argv...)
	}
	if r.blocks > 0 {
		argv = append([]string{"sh", "-c", fmt.Sprintf(`ulimit -f %d; exec "$@"`, r.blocks), "sh"}, argv...)
	}
	ctx, cancel := context.WithTimeout(c.t.Context(), 10*time.Minute)
	defer cancel()
	r.cmd = exec.CommandContext(ctx, argv[0], argv[1:]...)
	r.cmd.Env = append(append(os.Environ(), "TMPDIR="+c.tmp, "NVLAB_CHAOS="), r.env...)
	r.cmd.Dir = c.work
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	r.cmd.Stdout, r.cmd.Stderr = &r.output, &r.output
	if len(r.args) > 1 && r.args[1] != "--cache" {
		r.cmd.Args = append(r.cmd.Args, "--cache", c.cache)
	}
	if err := r.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	if r.during != nil {
		r.during(r.cmd.Process)
	}
	r.cmd.Wait()
	if ctx.Err() != nil {
		c.t.Errorf("%q did not end in 10 minutes", r.args)
	}
	// Children of a killed one end, too, if not at once.
	for wait := 0; unix.Kill(-r.cmd.Process.Pid, 0) == nil; wait++ {
		if wait == 100 {
			c.t.Errorf("%q left processes behind", r.args)
			unix.Kill(-r.cmd.Process.Pid, unix.SIGKILL)
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	return &r
}

// want fails unless the run ended with one of the statuses.
func (r *chaosRun) want(t *testing.T, statuses ...int) {
	t.Helper()
	if got := r.cmd.ProcessState.ExitCode(); !slices.Contains(statuses, got) {
		t.Errorf("%q ended with %v, want one of %d:\n%s", r.args, r.cmd.ProcessState, statuses, r.output.Bytes())
	}
	if strings.Contains(r.output.String(), "goroutine ") {
		t.Errorf("%q shows goroutines:\n%s", r.args, r.output.Bytes())
	}
}

// clean fails if a run left temporary files.
func (c *chaos) clean() {
	c.t.Helper()
	if left := c.left(c.tmp, "*"); left != nil {
		c.t.Errorf("temporary files were left: %q", left)
	}
	c.empty()
}

// empty is for what a process that was killed could not remove.
func (c *chaos) empty() {
	for _, name := range c.left(c.tmp, "*") {
		os.RemoveAll(name)
	}
}

func (c *chaos) left(dir string, patterns ...string) (list []string) {
	for _, p := range patterns {
		found, err := filepath.Glob(filepath.Join(dir, p))
		if err != nil {
			c.t.Fatal(err)
		}
		list = append(list, found...)
	}
	return list
}

// A hostile command, and what it leaves of the guest.
type hostile struct {
	command string
	leaves  leaving
}

type leaving int

const (
	sound    leaving = iota
	crippled         // without programs, /proc, or itself: no later command surely does what it says
	panicked
)

var hostileCommands = []hostile{
	{"echo 'Oops: 0002 [#1] SMP' > /dev/kmsg", sound},
	{"echo 'Kernel panic - not syncing: x' > /dev/console", sound},
	{"for s in HUP INT QUIT ABRT SEGV PIPE; do kill -$s 1; done", sound},
	{"echo 0 > /proc/sys/kernel/printk", sound},
	{"for i in 1 2 3; do echo t > /proc/sysrq-trigger; done", sound},
	{"head -c 50000 /dev/urandom > /dev/ttyS0", sound},
	{"yes hostile | head -c 3000000", sound},
	{"for i in $(seq 100); do sleep 1000 & done", sound},
	{"tail /dev/zero", sound},
	{"kill -9 -1", sound},
	{"umount -l /proc", crippled},
	{"rm -rf /usr /etc /tmp", crippled},
	{"mkdir -p /a; mount -t tmpfs -o size=4M none /a && dd if=/dev/zero of=/a/x", sound},
	{"echo 3 > /proc/sys/vm/drop_caches; echo 1 > /proc/sys/vm/compact_memory", sound},
	{"dd if=/dev/urandom of=/dev/mem bs=16 count=4", sound},
	{"for f in /sys/devices/system/cpu/cpu[1-9]/online; do echo 0 > $f; echo 1 > $f; done", sound},
	{"reboot -f; sleep 60", crippled},
	{"echo c > /proc/sysrq-trigger", panicked},
	{"echo 0 > /proc/sys/kernel/printk; echo c > /proc/sysrq-trigger", panicked},
	{"echo 0 > /proc/sys/kernel/printk; echo 1 > /proc/sys/vm/panic_on_oom; tail /dev/zero", panicked},
}

// scenario writes one whose guest runs commands, after it stored the mark that
// the host finds whatever they do.
func (c *chaos) scenario(commands []hostile, backend string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `def test_chaos(t):
    disk = t.backend_file(path = %q, size = "16MiB")
    vm = t.vm(slots = 1, maxmem = "2GiB", cpus = %d, seed = %d)
    vm.plug(backend = disk)
    vm.boot()
    vm.run("echo a mark | dd of=/dev/pmem0 bs=4096 count=1 conv=sync oflag=direct")
`, backend, 1+c.random.IntN(2), c.random.IntN(1000))
	for _, h := range commands {
		fmt.Fprintf(&b, "    vm.run(%q, check = False)\n", h.command)
	}
	b.WriteString(`    vm.kill()
    check.eq(disk.bytes(0, 6), b"a mark")
`)
	name := filepath.Join(c.work, "chaos.star")
	if err := os.WriteFile(name, []byte(b.String()), 0o644); err != nil {
		c.t.Fatal(err)
	}
	return name
}

func (c *chaos) some(n int) (list []hostile) {
	for range n {
		h := hostileCommands[c.random.IntN(len(hostileCommands))]
		for _, before := range list {
			if h.leaves == panicked && before.leaves == crippled {
				return list // the guest may have lost what the panic needs
			}
		}
		list = append(list, h)
		if h.leaves == panicked {
			break
		}
	}
	return list
}

func names(list []hostile) string {
	var b []string
	for _, h := range list {
		b = append(b, h.command)
	}
	return strings.Join(b, " | ")
}

func (c *chaos) hostileGuest() string {
	commands := c.some(1 + c.random.IntN(3))
	run := c.nvlab(chaosRun{args: []string{"run", "--artifacts", c.work + "/artifacts", c.scenario(commands, "pmem0.img")}})
	if commands[len(commands)-1].leaves == panicked {
		run.want(c.t, 1)
		if !strings.Contains(run.output.String(), "kernel panicked: Kernel panic - not syncing: ") {
			c.t.Errorf("a panic by %q is not told:\n%s", names(commands), run.output.Bytes())
		}
	} else {
		run.want(c.t, 0)
	}
	c.clean()
	return names(commands)
}

// signalled runs a sound scenario, and a signal strikes at some moment.
func (c *chaos) signalled(sig os.Signal) (*chaosRun, string) {
	after := time.Duration(c.random.IntN(3000)) * time.Millisecond
	run := c.nvlab(chaosRun{args: []string{"run", c.scenario(nil, "pmem0.img")}, during: func(p *os.Process) {
		time.Sleep(after)
		p.Signal(sig)
	}})
	return run, fmt.Sprintf("after %v: %v", after, run.cmd.ProcessState)
}

func (c *chaos) killed() string {
	_, what := c.signalled(os.Kill)
	c.empty()
	c.wholeStates()
	c.sound()
	return what
}

func (c *chaos) interrupted() string {
	sig := []os.Signal{syscall.SIGINT, syscall.SIGTERM}[c.random.IntN(2)]
	run, what := c.signalled(sig)
	// It may have been over, or not have begun to listen.
	if ws := run.cmd.ProcessState.Sys().(syscall.WaitStatus); !ws.Signaled() {
		run.want(c.t, 0, 130, 143)
		c.clean()
	}
	return what
}

// sound runs a scenario that passes on a store that is whole.
func (c *chaos) sound() {
	c.t.Helper()
	c.nvlab(chaosRun{args: []string{"run", c.scenario(nil, "pmem0.img")}}).want(c.t, 0)
	c.clean()
}

// fullDisk has a file system with less room than the guest writes, or with more;
// or where that takes root and there is none, a bound for files. What the host
// lacks is never the test's failure.
func (c *chaos) fullDisk() string {
	const written = 4 << 10 // KiB, behind the mark
	write := hostile{fmt.Sprintf("dd if=/dev/zero of=/dev/pmem0 bs=64k seek=1 count=%d oflag=direct", written/64), sound}
	run := chaosRun{args: []string{"run", "--artifacts", c.work + "/artifacts", c.scenario([]hostile{write}, "pmem0.img")}}
	size := 4 + c.random.IntN(10<<10)
	what, want := fmt.Sprintf("files of at most %d KiB", size), 3
	if _, err := exec.LookPath("unshare"); err == nil && os.Geteuid() == 0 && c.random.IntN(2) == 0 {
		what, run.disk = fmt.Sprintf("a disk of %d KiB", size), size
		if size > written+1<<10 {
			want = 0
		}
	} else {
		run.blocks = 2 * size // less than the backend has
	}
	done := c.nvlab(run)
	if size > written && size <= written+1<<10 {
		done.want(c.t, 0, 3) // other files lie there, too
	} else {
		done.want(c.t, want)
	}
	if lacks := regexp.MustCompile("no space left|is full|file too large"); done.cmd.ProcessState.ExitCode() == 3 && !lacks.MatchString(done.output.String()) {
		c.t.Errorf("a run with %s does not say what it lacks:\n%s", what, done.output.Bytes())
	}
	c.clean()
	c.wholeStates()
	return fmt.Sprintf("%s: %v", what, done.cmd.ProcessState)
}

func (c *chaos) shrinkingBackend() string {
	backend := filepath.Join(c.work, "pmem0.img")
	defer os.Remove(backend)
	if err := os.WriteFile(backend, make([]byte, 16<<20), 0o644); err != nil {
		c.t.Fatal(err)
	}
	after, size := time.Duration(c.random.IntN(3000))*time.Millisecond, c.random.Int64N(16<<20)
	run := c.nvlab(chaosRun{
		args: []string{"run", "--artifacts", c.work + "/artifacts", "--allow-path", c.work, c.scenario([]hostile{{"cat /dev/pmem0 | md5sum", sound}}, backend)},
		during: func(*os.Process) {
			time.Sleep(after)
			os.Truncate(backend, size)
		},
	})
	run.want(c.t, 0, 1, 3)
	c.clean()
	return fmt.Sprintf("to %d bytes after %v: %v", size, after, run.cmd.ProcessState)
}

// wholeStates fails if a state is damaged that runs left, however they ended.
func (c *chaos) wholeStates() {
	c.t.Helper()
	c.nvlab(chaosRun{args: []string{"cache", "verify"}}).want(c.t, 0)
}

// damagedState has a file damaged that a run would have reused.
func (c *chaos) damagedState() string {
	files := c.left(c.cache, "states/*.state")
	if files == nil {
		return "nothing"
	}
	what := c.damage(files[c.random.IntN(len(files))])
	c.sound()
	// If the run had no use for it, it is there still; or it was a hole that is
	// other now.
	c.nvlab(chaosRun{args: []string{"cache", "verify"}}).want(c.t, 0, 3)
	c.wholeStates()
	return what
}

func (c *chaos) damagedStore() string {
	dir := filepath.Join(c.cache, "guests", c.guest)
	files := []string{"kernel", "vmlinux", "initrd.cpio", "manifest.json", "checked.json"}
	what := c.damage(filepath.Join(dir, files[c.random.IntN(len(files))]))
	// It is made again, from the packages that the store has.
	c.sound()
	return what
}

// damage changes a bit of a file or cuts it off, and says which.
func (c *chaos) damage(file string) string {
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return "nothing"
	}
	if err != nil {
		c.t.Fatal(err)
	}
	at := c.random.IntN(len(b))
	what := fmt.Sprintf("%s: bit of byte %d", filepath.Base(file), at)
	if c.random.IntN(2) == 0 {
		what = fmt.Sprintf("%s: cut to %d bytes", filepath.Base(file), at)
		err = os.Truncate(file, int64(at))
	} else {
		b[at] ^= 1 << c.random.IntN(8)
		os.Chmod(file, 0o644)
		err = os.WriteFile(file, b, 0o644)
	}
	if err != nil {
		c.t.Fatal(err)
	}
	return what
}
