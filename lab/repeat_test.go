package lab

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"nvlab/vmm"
	"nvlab/vmm/soft"
)

// atEnd is the software engine, and keeps the registers of a machine that ends.
type atEnd struct {
	soft.Engine
	states []soft.State
}

func (e *atEnd) New(spec vmm.ProcessorSpec, bus vmm.Bus) (vmm.Processors, error) {
	p, err := e.Engine.New(spec, bus)
	return ending{p, e}, err
}

type ending struct {
	vmm.Processors
	e *atEnd
}

func (p ending) Close() error {
	p.e.states = p.Processors.(interface{ States() []soft.State }).States()
	return p.Processors.Close()
}

// An outcome is all that a run leaves.
type outcome struct {
	console   string
	stdout    string // of commands that race
	clock     time.Duration
	registers string // at power-off
	backend   string // SHA256
	boot      uint64 // instructions until the agent answered
}

// mostBootInstructions is how many instructions the default machine with one DIMM
// may take to boot, by its kernel: devices and tables that came later cost those
// nothing who do not use them.
var mostBootInstructions = map[string]uint64{
	"6.1.0-57-cloud-amd64": 591e6,
}

// kernelVersion is what a kernel says that it is first.
var kernelVersion = regexp.MustCompile(`Linux version (\S+)`)

func (o outcome) hash() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%+v", o))
	return hex.EncodeToString(sum[:])
}

// differ names the parts in which two outcomes differ.
func (o outcome) differ(p outcome) string {
	var parts []string
	for what, equal := range map[string]bool{
		"console": o.console == p.console, "output": o.stdout == p.stdout, "clock": o.clock == p.clock,
		"registers": o.registers == p.registers, "backend": o.backend == p.backend,
	} {
		if !equal {
			parts = append(parts, what)
		}
	}
	return strings.Join(parts, ", ")
}

// race is commands that run at the same time, and tell in which order each got
// how far.
const race = "for i in 1 2 3; do (for n in 1 2; do dd if=/dev/urandom bs=4k count=4 2>/dev/null | sha256sum; done) & done; wait"

// runOnce boots, stores to the DIMM, lets commands race, and powers off.
func runOnce(t *testing.T, seed uint64, cpus int, engine soft.Engine) outcome {
	v, b := labelledVM(t, bootExperiment(t))
	kept := &atEnd{Engine: engine}
	v.engine, v.opts.Seed, v.opts.CPUs = kept, seed, cpus
	mustBoot(t, v)
	boot := v.Stats().Instructions
	mustRun(t, v, "dd if=/dev/urandom of=/dev/pmem0 bs=4096 count=4 oflag=direct")
	stdout := mustRun(t, v, race)
	if err := v.PowerOff(t.Context()); err != nil {
		t.Fatal(err)
	}
	sum, err := b.SHA256(context.Background(), 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	return outcome{v.Console(), stdout, v.Clock(), fmt.Sprintf("%+v", kept.states), sum, boot}
}

// repeats is how often the tests of this file and its neighbours compute the
// same: NVLAB_REPEATS, or n times.
func repeats(t *testing.T, n int) int {
	if text := os.Getenv("NVLAB_REPEATS"); text != "" {
		if _, err := fmt.Sscan(text, &n); err != nil || n < 4 {
			t.Fatalf("NVLAB_REPEATS=%q: want a number from 4 on", text)
		}
	}
	return n
}

// TestBootsRepeat boots ten times with one seed on one CPU, and four times on two: two
// machines at a time, and once on the interpreter. What a run leaves has one
// hash. Another seed has another.
func TestBootsRepeat(t *testing.T) {
	t.Parallel()
	bootExperiment(t) // builds the guest, or skips
	for cpus, boots := range map[int]int{1: repeats(t, 10), 2: repeats(t, 4)} {
		outcomes := make([]outcome, boots+1)
		t.Run(fmt.Sprintf("%d CPUs", cpus), func(t *testing.T) {
			var two sync.WaitGroup
			for half := range 2 {
				two.Go(func() {
					for i := half; i <= boots; i += 2 {
						seed := uint64(7)
						if i == boots {
							seed = 8
						}
						t.Run(fmt.Sprint(i), func(t *testing.T) {
							outcomes[i] = runOnce(t, seed, cpus, soft.Engine{Interpreter: i == 3})
						})
					}
				})
			}
			two.Wait()
		})
		if t.Failed() {
			return
		}
		first, other := outcomes[0], outcomes[boots]
		for i, o := range outcomes[:boots] {
			if o.hash() != first.hash() {
				t.Errorf("%d CPUs, one seed: boot %d differs from the first in %s: hashes %s and %s", cpus, i, first.differ(o), first.hash(), o.hash())
			}
		}
		if got := first.differ(other); strings.Count(got, ",") != 4 {
			t.Errorf("%d CPUs, another seed: only %s differ, want all", cpus, got)
		}
		if booted := strings.Contains(first.console, "smp: Brought up 1 node, 2 CPUs"); booted != (cpus == 2) {
			t.Errorf("%d CPUs: the kernel says that it has 2: %v", cpus, booted)
		}
		t.Logf("%d CPUs: %d boots of %v of guest time have hash %s; each took %d instructions", cpus, boots, first.clock, first.hash(), first.boot)
		if k := kernelVersion.FindStringSubmatch(first.console); cpus == 1 && k != nil && mostBootInstructions[k[1]] != 0 && first.boot > mostBootInstructions[k[1]] {
			t.Errorf("Linux %s boots in %d instructions, want %d at most", k[1], first.boot, mostBootInstructions[k[1]])
		}
	}
}
