package lab

import (
	"context"
	"reflect"
	"slices"
	"strings"
	"testing"

	"nvlab/nvdimm/explore"
)

// says is a recovery, or a check, that runs a command and answers what it prints.
func says(command string) Recovery {
	return func(ctx context.Context, _ string, v *VM) (string, error) {
		r, err := v.Run(ctx, Command{Shell: command})
		if err != nil {
			return "", err
		}
		return string(r.Stdout) + string(r.Stderr), nil
	}
}

func nothing(context.Context, string, *VM) (string, error) { return "", nil }

// TestCheck: a check comes to what it would come to in each execution, is run for few of
// them, and what it reads tells states apart as if the recovery had read it.
func TestCheck(t *testing.T) {
	_, v := exploredVM(t)
	trace, err := v.Trace(t.Context(), Command{Shell: "mv /mnt/a /mnt/b && sync"})
	if err != nil {
		t.Fatal(err)
	}
	const mount = "mount -t ext4 -o dax /dev/pmem0 /mnt && ls /mnt; umount /mnt; "
	const fsck = "e2fsck -fn /dev/pmem0 >/tmp/fsck 2>&1; echo fsck $?; "
	calls := 0
	checking := func(check Recovery) Check {
		calls = 0
		return func(ctx context.Context, state, answer string, v *VM) (string, error) {
			calls++
			is, err := check(ctx, state, v)
			return answer + "/" + is, err
		}
	}
	explored := func(recovery Recovery, check Recovery) *Exploration {
		t.Helper()
		o := ExploreOptions{Depth: 1, Limit: 24, Workers: 1, Verify: 4}
		if check != nil {
			o.Check = checking(check)
		}
		e, err := trace.Explore(t.Context(), o, recovery)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	states := func(e *Exploration) (list []string) {
		for _, l := range e.Leaves {
			list = append(list, l.ID+": "+strings.TrimPrefix(l.Answer, "/"))
		}
		return list
	}

	few := explored(says(mount), says(fsck+mount))
	if done := len(few.Leaves) + few.Checked; calls > done/2 {
		t.Errorf("of %d executions %d were checked, want less than half: most leave the same", done, calls)
	}
	o := ExploreOptions{Depth: 1, Check: checking(says(fsck + mount))}
	x := trace.explorer(t.Context(), &o, says(mount))
	defer x.end()
	if err := x.prepare(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	for _, l := range few.Leaves[:12] {
		s, err := x.space.State(l.Point, l.All, l.Changes...)
		if err != nil {
			t.Fatal(err)
		}
		run := func(anew bool) explore.Execution {
			x.checks.anew = anew
			e, err := x.run(t.Context(), s)
			if err != nil {
				t.Fatal(err)
			}
			return e
		}
		run(false)
		computed, known := run(true), run(false)
		if computed.Answer != l.Answer || !reflect.DeepEqual(computed, known) {
			t.Errorf("state %s, whose answer was %q, has with a check that is run the answer %q of %d reads, and %q of %d with one that is known",
				l.ID, l.Answer, computed.Answer, len(computed.Reads), known.Answer, len(known.Reads))
		}
	}

	if got, want := states(explored(nothing, says(mount+fsck))), states(explored(says(mount+fsck), nil)); !slices.Equal(got, want) {
		t.Errorf("a check after a recovery that reads nothing comes to %q, want what comes of it as a recovery: %q", got, want)
	}
	if e := explored(says("head -c 32M /dev/zero >/dev/pmem0"), says("od -A n -t x1 -N 4096 /dev/pmem0")); len(e.Leaves) != 1 || !e.Exhaustive() {
		t.Errorf("after a recovery that overwrites all: %s; want that one execution speaks for all", e.Coverage())
	}

	// What one recovery leaves as it was, another changes.
	mark := explored(says("mount -t ext4 -o dax /dev/pmem0 /mnt >/dev/null 2>&1 && { test -e /mnt/b && mark=X; umount /mnt; }; test -n \"$mark\" && echo $mark | dd of=/dev/pmem0 bs=1M seek=20 2>/dev/null"),
		says("dd if=/dev/pmem0 bs=1M skip=20 count=1 2>/dev/null | head -c 1 | tr '\\0' 0"))
	var found []string
	for _, a := range mark.Answers() {
		found = append(found, a.Text)
	}
	if slices.Sort(found); !slices.Equal(found, []string{"/0", "/X"}) {
		t.Errorf("where some recoveries leave an X the checks find %q, want that and what the others leave", found)
	}
}

// TestCheckFinds: a check finds what the recovery left, wherever in its run it stored that.
func TestCheckFinds(t *testing.T) {
	trace := tracedSector(t, FileBackendOptions{Share: true})
	const busy = "i=0; while [ $i -lt 300 ]; do i=$((i + 1)); done; "
	for name, recovery := range map[string]Recovery{
		"in the opening": says(writeSector("top", 4096) + busy + readSector(256)),
		"before a fork": func(ctx context.Context, state string, v *VM) (string, error) {
			if _, err := says(writeSector("top", 4096))(ctx, state, v); err != nil {
				return "", err
			}
			_, err := v.Fork(ctx, nil)
			return "", err
		},
	} {
		o := ExploreOptions{Depth: 1, Check: func(ctx context.Context, state, _ string, v *VM) (string, error) {
			return says(readSector(4096)+readSector(256))(ctx, state, v)
		}}
		if found, want := exploredAnswers(t, trace, o, recovery), []string{"top000", "topone", "toptwo"}; !slices.Equal(found, want) {
			t.Errorf("where a recovery stores %s its checks find %q, want %q", name, found, want)
		}
	}
	o := ExploreOptions{Depth: 1, Check: func(context.Context, string, string, *VM) (string, error) { return "", nil }}
	_, err := trace.Explore(t.Context(), o, func(ctx context.Context, _ string, v *VM) (string, error) {
		if err := v.Settle(); err != nil {
			return "", err
		}
		if err := v.Kill(); err != nil {
			return "", err
		}
		return "", v.Unplug(v.NVDIMMs()[0])
	})
	if err == nil || !strings.Contains(err.Error(), "took one out") {
		t.Errorf("of a recovery that takes an NVDIMM out a check gets %v, want an error that says so", err)
	}
}

// TestCheckerForgets: what a checker remembers is bounded, the oldest goes, and of it
// nothing is left.
func TestCheckerForgets(t *testing.T) {
	c := &checker{known: map[string][]*checked{}}
	const each = maxChecked / 8
	for i := range 20 {
		c.keep(string(rune('a'+i%10)), &checked{lines: make([]foundLine, each)})
	}
	n := 0
	for answer, list := range c.known {
		n += len(list)
		if len(list) != 1 {
			t.Errorf("of the answer %s %d checks are known, want the latest", answer, len(list))
		}
	}
	if n != 8 || len(c.kept) != 8 || c.size != maxChecked {
		t.Errorf("%d checks of %d are known, with %d lines; want the latest 8, with %d", n, len(c.kept), c.size, maxChecked)
	}
}
