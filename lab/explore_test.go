package lab

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"nvlab/nvdimm/firmware"
	"nvlab/nvdimm/persist"
)

// exploredVM is a VM with ext4 with DAX on its NVDIMM, and one file there.
func exploredVM(t testing.TB) (*Experiment, *VM) {
	t.Helper()
	x := vmExperiment(t)
	b, err := x.FileBackend(FileBackendOptions{Path: "pmem0.img", Size: 32 << 20, Share: true})
	if err != nil {
		t.Fatal(err)
	}
	v := pluggedVM(t, x, b, 0)
	mustBoot(t, v)
	mustRun(t, v, "ndctl create-namespace -f -e namespace0.0 -m fsdax -M mem -a 4K >/dev/null && mkfs.ext4 -q -b 4096 /dev/pmem0 && mount -t ext4 -o dax /dev/pmem0 /mnt && echo one >/mnt/a && sync")
	return x, v
}

const lookAtFiles = "mount -t ext4 -o dax /dev/pmem0 /mnt && cd /mnt && ls && cat a b 2>/dev/null; cd / && umount /mnt; e2fsck -fn /dev/pmem0 >/tmp/fsck 2>&1; echo fsck $?"

func look(ctx context.Context, _ string, v *VM) (string, error) {
	r, err := v.Run(ctx, Command{Shell: lookAtFiles})
	if err != nil {
		return "", err
	}
	return string(r.Stdout) + string(r.Stderr), nil
}

// TestExplore explores the plainest states of a rename on ext4, with what each
// execution reads, and without: the answers are the same.
func TestExplore(t *testing.T) {
	_, v := exploredVM(t)
	trace, err := v.Trace(t.Context(), Command{Shell: "mv /mnt/a /mnt/b && sync"})
	if err != nil {
		t.Fatal(err)
	}
	explored := func(name string, o ExploreOptions) *Exploration {
		start := time.Now()
		e, err := trace.Explore(t.Context(), o, look)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		t.Logf("%s: %s; booted %v; %.1f executions a second", name, e.Coverage(), e.Booted, float64(len(e.Leaves))/time.Since(start).Seconds())
		return e
	}
	answers := func(e *Exploration) map[string]string {
		found := map[string]string{}
		for _, a := range e.Answers() {
			found[a.Text] = a.Plainest.ID
		}
		return found
	}
	bad := func(answer string) bool { return strings.HasPrefix(answer, "a\n") }
	var ran []string
	one := explored("one at a time", ExploreOptions{Depth: 1, Limit: 20, Workers: 1, Bad: bad, Ran: func(id, _ string) { ran = append(ran, id) }})
	if len(ran) != len(one.Leaves) {
		t.Errorf("Ran was called %d times, want %d", len(ran), len(one.Leaves))
	}

	// Twenty speak for most states, however many these are: what the file system
	// copies and does not look at tells none apart.
	if most := new(big.Int).Lsh(one.States, 1); most.Cmp(one.Legal) < 0 {
		t.Errorf("%s: want more than half", one.Coverage())
	}

	// Three at a time come to the same, in the same order, and each state alone
	// has the answer that it had among others.
	order := 0
	three := explored("three at a time", ExploreOptions{Depth: 1, Limit: 20, Workers: 3, Bad: bad, Verify: 4, Ran: func(id, _ string) {
		if order >= len(ran) || ran[order] != id {
			t.Errorf("with three workers the execution that is looked at as number %d is of state %s", order, id)
		}
		order++
	}})
	if !reflect.DeepEqual(one.Leaves, three.Leaves) || !reflect.DeepEqual(one.Minimal, three.Minimal) || one.Coverage() != three.Coverage() {
		t.Errorf("one worker: %s, minimal %v; three: %s, minimal %v", one.Coverage(), one.Minimal, three.Coverage(), three.Minimal)
	}
	// What a state lost is said in the words of ext4.
	kinds := map[string]bool{}
	for s := range (&persist.Search{At: persist.AtFence, Limit: 60}).States(trace.Journal) {
		why := trace.Explain(s)
		for _, what := range []string{"ext4's inode ", "ext4's superblock", "ext4's group descriptor", "descriptor block of ext4's journal", "commit block of ext4's journal", "logged block in ext4's journal"} {
			if strings.Contains(why, what) && !kinds[what] {
				kinds[what] = true
				t.Log(why)
			}
		}
	}
	for _, what := range []string{"ext4's inode ", "descriptor block of ext4's journal"} {
		if !kinds[what] {
			t.Errorf("no state lost %s; those that did lost %v", what, kinds)
		}
	}
	for _, a := range one.Answers() {
		event, hash, _ := strings.Cut(a.Plainest.ID, "-")
		event, _, _ = strings.Cut(event, ".")
		if least := one.Minimal[a.Text]; least != a.Plainest.ID && strings.HasPrefix(least, event+".") && strings.HasSuffix(least, "-"+hash) {
			t.Errorf("one state is told of as %s and as %s", a.Plainest.ID, least)
		}
	}
	if len(one.Minimal) != 1 {
		t.Errorf("minimal states %v, want one of the answer that is bad", one.Minimal)
	}
	pruned := answers(one)
	for text, id := range pruned {
		s, err := trace.Find(id)
		if err != nil {
			t.Fatal(err)
		}
		if got, _, err := trace.Recover(t.Context(), ExploreOptions{}, s, look); err != nil || got != text {
			t.Errorf("state %s alone: answer %q, %v, want %q", id, got, err, text)
		}
		break
	}

	// What was found before the budget was spent is the result.
	if e := explored("for no time", ExploreOptions{Depth: 1, Budget: 1}); e.Exhaustive() || !strings.Contains(e.Ended, "budget") {
		t.Errorf("with a budget of 1 ns: %s, ended %q", e.Coverage(), e.Ended)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	e, err := trace.Explore(ctx, ExploreOptions{Depth: 1, Workers: 1, Ran: func(string, string) { cancel(errors.New("enough")) }}, look)
	if err != nil || len(e.Leaves) == 0 || e.Exhaustive() || !strings.Contains(e.Ended, "enough") {
		t.Errorf("ended after its first executions: %v, %v", e, err)
	}
	for a, id := range answers(explored("not pruned", ExploreOptions{Depth: 1, NoPrune: true, Limit: 20})) {
		if pruned[a] == "" {
			t.Errorf("state %s is answered with %q, which pruning loses", id, a)
		}
	}
	for a := range pruned {
		if !strings.Contains(a, "one") && !strings.Contains(a, "mount") {
			t.Errorf("an answer is %q: the file's contents are lost", a)
		}
	}
}

// tracedSector is a VM whose trace is of a sector that is written twice, and commands
// of a guest with its NVDIMM.
func tracedSector(t *testing.T, o FileBackendOptions) *Trace {
	t.Helper()
	x := vmExperiment(t)
	o.Path, o.Size = "pmem0.img", 32<<20
	b, err := x.FileBackend(o)
	if err != nil {
		t.Fatal(err)
	}
	v := pluggedVM(t, x, b, 0)
	mustBoot(t, v)
	trace, err := v.Trace(t.Context(), Command{Shell: writeSector("one", 256) + writeSector("two", 256)})
	if err != nil {
		t.Fatal(err)
	}
	return trace
}

func writeSector(text string, n int) string {
	return fmt.Sprintf("echo %s | dd of=/dev/pmem0 bs=512 seek=%d count=1 conv=sync oflag=direct 2>/dev/null; ", text, n)
}

func readSector(n int) string {
	return fmt.Sprintf("dd if=/dev/pmem0 bs=512 skip=%d count=1 iflag=direct 2>/dev/null | head -c 3 | tr '\\0' 0; ", n)
}

// exploredAnswers are those of an exploration, sorted.
func exploredAnswers(t *testing.T, trace *Trace, o ExploreOptions, recovery Recovery) (list []string) {
	t.Helper()
	e, err := trace.Explore(t.Context(), o, recovery)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range e.Answers() {
		list = append(list, a.Text)
	}
	slices.Sort(list)
	return list
}

// TestExploreUndone: what a recovery stored over tells states apart where a power failure,
// or the end of private memory, brings it back.
func TestExploreUndone(t *testing.T) {
	for _, share := range []bool{true, false} {
		trace := tracedSector(t, FileBackendOptions{Share: share})
		o := ExploreOptions{Depth: 1}
		if !share { // a copy that is made at power-on
			v := trace.vm
			if err := v.Kill(); err != nil {
				t.Fatal(err)
			}
			var err error
			if o.Base, err = v.Snapshot(); err != nil {
				t.Fatal(err)
			}
		}
		found := exploredAnswers(t, trace, o, func(ctx context.Context, state string, v *VM) (string, error) {
			if err := v.Settle(); err != nil {
				return "", err
			}
			line := uint64(persist.LineSize)
			cut := PowerCut{Event: EventStore, Nth: 3, NVDIMM: v.NVDIMMs()[0], Offset: 256 * 512, Length: &line, Keep: persist.KeepNone}
			if !share {
				cut.Nth = 1 << 20 // never
			}
			if err := v.PowerCutOn(cut); err != nil {
				return "", err
			}
			if _, err := v.Run(ctx, Command{Shell: writeSector("over", 256)}); err != nil {
				return "", err
			}
			switch off := v.State() == Off; {
			case off != share:
				return fmt.Sprintf("the power failed: %v", off), nil
			case !off:
				if err := v.Kill(); err != nil {
					return "", err
				}
			}
			if err := v.Boot(ctx, DefaultTimeout); err != nil {
				return "", err
			}
			return says(readSector(256))(ctx, state, v)
		})
		if want := []string{"000", "one", "two"}; !slices.Equal(found, want) {
			t.Errorf("share %v: recoveries that boot again after they stored over a sector find %q in it, want %q", share, found, want)
		}
	}
}

// TestExploreSwitchedOff: what a guest reads of labels tells states apart after a power-off,
// too.
func TestExploreSwitchedOff(t *testing.T) {
	x := vmExperiment(t)
	v, _ := labelledVM(t, x)
	mustBoot(t, v)
	trace, err := v.Trace(t.Context(), Command{Shell: "ndctl disable-region all && ndctl init-labels -f nmem0 && ndctl enable-region all"})
	if err != nil {
		t.Fatal(err)
	}
	labels := func(ctx context.Context, state string, v *VM) (string, error) {
		if err := v.Settle(); err != nil {
			return "", err
		}
		if err := v.Kill(); err != nil {
			return "", err
		}
		if err := v.Boot(ctx, DefaultTimeout); err != nil {
			return "", err
		}
		return says("ndctl read-labels nmem0 2>/dev/null | head -c 8 | tr -d '\\0'")(ctx, state, v)
	}
	base, err := v.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	if found, want := exploredAnswers(t, trace, ExploreOptions{Base: base, Depth: 1, Limit: 4}, labels), []string{"", "NAMESPAC"}; !slices.Equal(found, want) {
		t.Errorf("after a power-off recoveries find labels that begin with %q, want %q", found, want)
	}
}

// TestExploreDecided: what all states have, but not the beginning of the trace, is there in
// each execution, wherever it is looked at first.
func TestExploreDecided(t *testing.T) {
	x := vmExperiment(t)
	v, _ := labelledVM(t, x)
	mustBoot(t, v)
	mustRun(t, v, "ndctl disable-region all")
	base, err := v.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	at := v.NVDIMMs()[0].Addr()
	trace, err := v.Trace(t.Context(), Command{Shell: fmt.Sprintf("busybox devmem %#x 8 7; ndctl init-labels -f nmem0", at)})
	if err != nil {
		t.Fatal(err)
	}
	recovery := says(fmt.Sprintf("busybox devmem %#x 8; i=0; while [ $i -lt 300 ]; do i=$((i + 1)); done; ndctl read-labels nmem0 2>/dev/null | head -c 8 | tr -d '\\0'", at))
	for when, want := range map[persist.What][]string{
		persist.AtEnd:   {"0x07\nNAMESPAC"},
		persist.AtLabel: {"0x07\n", "0x07\nNAMESPAC"},
	} {
		o := ExploreOptions{Search: persist.Search{At: when}, Base: base, Depth: 1, Limit: 4}
		if found := exploredAnswers(t, trace, o, recovery); !slices.Equal(found, want) {
			t.Errorf("at %v recoveries find %q, want %q", when, found, want)
		}
	}
}

// TestExploreLocked: what a recovery reads of a DIMM that it unlocks first tells states
// apart, and so does what a check does.
func TestExploreLocked(t *testing.T) {
	x := vmExperiment(t)
	v, d := securedVM(t, x)
	mustBoot(t, v)
	mustRun(t, v, "ndctl disable-region all")
	secure(t, d)
	trace, err := v.Trace(t.Context(), Command{Shell: fmt.Sprintf("busybox devmem %#x 64 7; busybox devmem %#x 64 8", d.Addr(), d.Addr())})
	if err != nil {
		t.Fatal(err)
	}
	unlocked := func(ctx context.Context, _ string, v *VM) (string, error) {
		if err := v.Settle(); err != nil {
			return "", err
		}
		if err := v.NVDIMMs()[0].Manage(func(s *firmware.State) error { s.Security.Locked = false; return nil }); err != nil {
			return "", err
		}
		r, err := v.Run(ctx, Command{Shell: fmt.Sprintf("busybox devmem %#x 64", d.Addr())})
		if err != nil {
			return "", err
		}
		return string(r.Stdout), nil
	}
	for name, o := range map[string]ExploreOptions{
		"recovery": {Depth: 1},
		"check":    {Depth: 1, Check: func(ctx context.Context, state, _ string, v *VM) (string, error) { return unlocked(ctx, state, v) }},
	} {
		recovery := unlocked
		if o.Check != nil {
			recovery = nothing
		}
		o.At = persist.AtStore
		e, err := trace.Explore(t.Context(), o, recovery)
		if err != nil {
			t.Fatal(err)
		}
		var found []string
		for _, a := range e.Answers() {
			found = append(found, a.Text)
		}
		slices.Sort(found)
		if want := []string{"0x0000000000000000\n", "0x0000000000000007\n", "0x0000000000000008\n"}; !slices.Equal(found, want) {
			t.Errorf("a %s that unlocks the DIMM finds %q, want %q", name, found, want)
		}
	}
}

// TestExploreUndecidedBase: what the base had not made durable is durable where recoveries
// begin, as the power has failed since.
func TestExploreUndecidedBase(t *testing.T) {
	x := vmExperiment(t)
	b, err := x.FileBackend(FileBackendOptions{Path: "pmem0.img", Size: 36 << 20, Share: true})
	if err != nil {
		t.Fatal(err)
	}
	mem := int64(2) // what is in the processors' caches is lost
	v, err := x.VM(VMOptions{Slots: 1, MaxMem: 4 << 30, Cap: &mem})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Plug(PlugOptions{Backend: b, LabelSize: 128 << 10}); err != nil {
		t.Fatal(err)
	}
	mustBoot(t, v)
	mustRun(t, v, "ndctl disable-region region0 && ndctl init-labels -f nmem0 && ndctl enable-region region0 && ndctl create-namespace -m devdax -r region0 -s 32M --align=4K")
	mustRun(t, v, "printf '"+shellBytes(storer())+"' >/tmp/storer && chmod +x /tmp/storer")
	mustRun(t, v, "/tmp/storer >/dev/null 2>&1 & sleep 0.005; kill -0 $!")
	base, err := v.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	trace, err := v.Trace(t.Context(), Command{Shell: "true"})
	if err != nil {
		t.Fatal(err)
	}
	e := trace.explorer(t.Context(), &ExploreOptions{}, nothing)
	defer e.end()
	if err := e.prepare(t.Context(), base); err != nil {
		t.Fatal(err)
	}
	for from, loses := range map[*VMSnapshot]bool{base: true, e.base: false} {
		f, err := from.Fork(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		sum := func() string {
			sum, err := f.NVDIMMs()[0].Backend().SHA256(t.Context(), 0, nil)
			if err != nil {
				t.Fatal(err)
			}
			return sum
		}
		before := sum()
		if err := f.PowerCut(persist.KeepNone, false); err != nil {
			t.Fatal(err)
		}
		if lost := sum() != before; lost != loses {
			t.Errorf("a fork of the base loses stores with the power: %v, want %v: it is what recoveries begin with: %v", lost, loses, !loses)
		}
	}
}
