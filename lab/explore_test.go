package lab

import (
	"context"
	"strings"
	"testing"
	"time"
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

func look(ctx context.Context, v *VM) (string, error) {
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
	answers := func(name string, o ExploreOptions) map[string]string {
		start := time.Now()
		e, err := trace.Explore(t.Context(), o, look)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		found := map[string]string{}
		for _, a := range e.Answers() {
			found[a.Text] = a.Plainest.ID
		}
		t.Logf("%s: %s; %d answers; booted %v; %.0f executions a second", name, e.Coverage(), len(found), e.Booted, float64(len(e.Leaves))/time.Since(start).Seconds())
		return found
	}
	pruned := answers("pruned", ExploreOptions{Depth: 1, Limit: 20})
	all := answers("not pruned", ExploreOptions{Depth: 1, NoPrune: true, Limit: 20})
	for a, id := range all {
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
