package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"nvlab/internal/require"
)

// gdbScenario has a test with one CPU and one with two. Each says what its machine has
// become.
const gdbScenario = `
def _machine(t, cpus):
    vm = t.vm(memory = "256MiB", slots = 1, maxmem = "1GiB", cpus = cpus)
    vm.plug(backend = t.backend_file(path = "a.img", size = "64MiB"))
    vm.boot()
    trace = vm.trace("echo hello | dd of=/dev/pmem0 bs=4k conv=sync oflag=direct")
    print("became", cpus, trace.stores, trace.flushes, trace.fences, trace.epochs, vm.snapshot().id)
    check.eq(trace.stores, 512)

def test_one(t):
    _machine(t, 1)

def test_two(t):
    _machine(t, 2)
`

// gdbCommands attach to the first machine, before it runs: the driver's module is
// not there yet. The third stop is in the second machine.
const gdbCommands = `
set pagination off
set breakpoint pending on
target remote %s
info line start_kernel
break nd_pmem_probe
continue
echo first stop\n
info threads
x/i $pc
stepi
stepi
info registers rip rdi eflags
print/x $cr0 & 1
x/gx $rsp
tbreak pmem_submit_bio
continue
echo second stop\n
backtrace 2
stepi
delete
tbreak start_kernel
continue
echo third stop\n
tbreak nd_pmem_probe
continue
echo fourth stop\n
info threads
set $at = $rip
stepi
print $rip - $at
info sharedlibrary
detach
`

// TestGDB: Debian's gdb attaches to a guest of one CPU and of two, stops in the
// NVDIMM driver, steps, reads registers and memory, and detaches. What the machines
// become is what they become without.
func TestGDB(t *testing.T) {
	if testing.Short() {
		t.Skip("boots machines")
	}
	gdb, err := exec.LookPath("gdb")
	if err != nil {
		require.Missing(t, "GDB", "no gdb (Debian package gdb)")
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "gdb.star")
	if err := os.WriteFile(file, []byte(gdbScenario), 0o666); err != nil {
		t.Fatal(err)
	}
	plain, err := exec.Command("nvlab", "run", "-v", "--engine", "soft", file).CombinedOutput()
	if err != nil {
		t.Fatalf("the run without gdb: %v\n%s", err, plain)
	}

	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	run := exec.CommandContext(ctx, "nvlab", "run", "-v", "-gdb", "localhost:0", file)
	var out bytes.Buffer
	run.Stdout = &out
	stderr, err := run.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	address := make(chan string, 1)
	go func() {
		waits := regexp.MustCompile(`waiting for gdb: gdb -ex 'target remote (.*)'`)
		for in := bufio.NewScanner(stderr); in.Scan(); {
			if m := waits.FindStringSubmatch(in.Text()); m != nil {
				address <- m[1]
			}
		}
		close(address)
	}()
	var at string
	select {
	case at = <-address:
	case <-time.After(time.Minute):
	}
	if at == "" {
		_ = run.Process.Kill()
		_ = run.Wait()
		t.Fatalf("the run does not wait for gdb\n%s", out.String())
	}
	commands := filepath.Join(dir, "commands")
	if err := os.WriteFile(commands, []byte(strings.ReplaceAll(gdbCommands, "%s", at)), 0o666); err != nil {
		t.Fatal(err)
	}
	seen, err := exec.CommandContext(ctx, gdb, "-nx", "-batch", "-x", commands).CombinedOutput()
	if err != nil || !strings.Contains(string(seen), "detached") {
		_ = run.Process.Kill()
	}
	_, _ = io.Copy(io.Discard, stderr)
	if ended := run.Wait(); err != nil || ended != nil {
		t.Fatalf("gdb: %v\n%s\nnvlab: %v\n%s", err, seen, ended, out.String())
	}

	rest := string(seen)
	for _, want := range []string{
		`address 0xffffffff[0-9a-f]+ <start_kernel>`,
		`Breakpoint 1, 0x[0-9a-f]+ in nd_pmem_probe \(\)[^\n]*\nfirst stop`,
		`\* 1 +Thread 1 \(CPU 0, in the kernel\) +0x[0-9a-f]+ in nd_pmem_probe`,
		`=> 0x[0-9a-f]+ <nd_pmem_probe>:`,
		`<nd_pmem_probe\+\d+>\nrdi +0xffff[0-9a-f]+ [^\n]*\neflags +0x[0-9a-f]+`,
		`\$1 = 0x1`,
		`0xffff[0-9a-f]+:\t0xffff[0-9a-f]+`,
		`Temporary breakpoint 2, 0x[0-9a-f]+ in pmem_submit_bio \(\)[^\n]*\nsecond stop`,
		`#0 +0x[0-9a-f]+ in pmem_submit_bio`,
		`in start_kernel \(\)[^\n]*\nthird stop`,
		`in nd_pmem_probe \(\)[^\n]*\nfourth stop`,
		`Thread 2 \(CPU 1, [^)]+\)`,
		`\$2 = [1-9]`,
		`target:/modules-`,
		`detached`,
	} {
		m := regexp.MustCompile(want).FindStringIndex(rest)
		if m == nil {
			t.Fatalf("gdb does not say %q after what it is to say before:\n%s", want, seen)
		}
		rest = rest[m[1]:]
	}
	became := regexp.MustCompile(`became .*`)
	with, without := became.FindAllString(out.String(), -1), became.FindAllString(string(plain), -1)
	if len(without) != 2 || strings.Join(with, "\n") != strings.Join(without, "\n") {
		t.Errorf("with gdb the machines say\n%s\nand without\n%s", strings.Join(with, "\n"), strings.Join(without, "\n"))
	}
}
