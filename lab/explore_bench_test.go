//go:build unix

package lab

import (
	"context"
	"fmt"
	"testing"

	"nvlab/nvdimm/persist"
)

// recovered are what BenchmarkExplore runs: file systems, how one is made and
// mounted, and how a recovery is checked.
var recovered = []struct {
	fs, mkfs, mount, check string
	size                   uint64
	packages               []string
}{
	{"ext4", "mkfs.ext4 -q -b 4096", "mount -t ext4 -o dax", "e2fsck -fn", 32 << 20, nil},
	{"xfs", "mkfs.xfs -q -f --unsupported", "mount -t xfs -o dax=always,nouuid", "xfs_repair -n", 64 << 20, []string{"xfsprogs"}},
}

// BenchmarkExplore is how many recoveries run a second, with one worker: a file
// system with DAX is mounted at a crash state of "mv a b; sync", looked at and
// unmounted; checked by a Check after that; or as a part of each recovery. Wanted are 60 a
// second of processor time on ext4, 25 on XFS, with a check. Published figures, for comparison: Vinter
// resets its VM in 75 ms and takes 1.04 s for a state; Chipmunk and B3 check about
// one state a second.
func BenchmarkExplore(b *testing.B) {
	for _, r := range recovered {
		b.Run(r.fs, func(b *testing.B) {
			x := vmExperiment(b)
			backend, err := x.FileBackend(FileBackendOptions{Path: "pmem0.img", Size: r.size, Share: true})
			if err != nil {
				b.Fatal(err)
			}
			var o VMOptions
			o.Slots, o.MaxMem, o.Packages = 1, 4<<30, r.packages
			v, err := x.VM(o)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := v.Plug(PlugOptions{Backend: backend, ID: "nvdimm1"}); err != nil {
				b.Fatal(err)
			}
			mustBoot(b, v)
			mustRun(b, v, "ndctl create-namespace -f -e namespace0.0 -m fsdax -M mem -a 4K >/dev/null && "+r.mkfs+" /dev/pmem0 && modprobe "+r.fs)
			base, err := v.Snapshot()
			if err != nil {
				b.Fatal(err)
			}
			mustRun(b, v, r.mount+" /dev/pmem0 /mnt && echo one >/mnt/a && sync")
			trace, err := v.Trace(b.Context(), Command{Shell: "mv /mnt/a /mnt/b && sync"})
			if err != nil {
				b.Fatal(err)
			}
			look := r.mount + " /dev/pmem0 /mnt && ls /mnt && cat /mnt/a /mnt/b; umount /mnt"
			check := r.check + " /dev/pmem0 >/tmp/check 2>&1"
			for _, c := range []struct{ name, recovery, check string }{{"mount", look, ""}, {"check", look, check}, {"check-each", look + "; " + check, ""}, {"nothing", "true", ""}} {
				b.Run(c.name, func(b *testing.B) { benchmarkRecovery(b, trace, base, c.recovery, c.check) })
			}
		})
	}
}

func benchmarkRecovery(b *testing.B, trace *Trace, base *VMSnapshot, command, check string) {
	executions, instructions := 0, uint64(0)
	run := func(ctx context.Context, v *VM, command string) (string, error) {
		before := v.Stats().Instructions
		r, err := v.Run(ctx, Command{Shell: command})
		instructions += v.Stats().Instructions - before
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("%d %s", r.ExitCode, r.Stdout), nil
	}
	o := ExploreOptions{Search: persist.Search{At: persist.AtFence}, Base: base, Depth: 2, Limit: 100, Workers: 1}
	if check != "" {
		o.Check = func(ctx context.Context, _, answer string, v *VM) (string, error) {
			end, err := run(ctx, v, check)
			return answer + end, err
		}
	}
	processor := processTime(b)
	for b.Loop() {
		e, err := trace.Explore(b.Context(), o, func(ctx context.Context, _ string, v *VM) (string, error) { return run(ctx, v, command) })
		if err != nil {
			b.Fatal(err)
		}
		executions += len(e.Leaves)
	}
	b.ReportMetric(float64(executions)/(processTime(b)-processor).Seconds(), "executions/s-of-processor")
	b.ReportMetric(float64(instructions)/float64(executions)/1e6, "Minstructions/execution")
}
