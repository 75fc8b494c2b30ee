package lab

import (
	"context"
	"fmt"
	"testing"
	"time"

	"nvlab/nvdimm/persist"
)

// BenchmarkExplore is how many recoveries run a second, with one worker: ext4 with
// DAX is mounted at a crash state of "mv a b; sync", looked at and unmounted, with
// and without e2fsck. Published figures, for comparison: Vinter resets its VM in
// 75 ms and takes 1.04 s for a state; Chipmunk and B3 check about one state a
// second.
func BenchmarkExplore(b *testing.B) {
	_, v := exploredVM(b)
	trace, err := v.Trace(b.Context(), Command{Shell: "mv /mnt/a /mnt/b && sync"})
	if err != nil {
		b.Fatal(err)
	}
	for name, command := range map[string]string{
		"mount":  "mount -t ext4 -o dax /dev/pmem0 /mnt && ls /mnt && cat /mnt/a /mnt/b; umount /mnt",
		"e2fsck": lookAtFiles,
		"true":   "true",
	} {
		b.Run(name, func(b *testing.B) {
			executions, instructions, inGuest := 0, uint64(0), time.Duration(0)
			for b.Loop() {
				o := ExploreOptions{Search: persist.Search{At: persist.AtFence}, Depth: 2, Limit: 24, Workers: 1, NoPrune: true}
				e, err := trace.Explore(b.Context(), o, func(ctx context.Context, _ string, v *VM) (string, error) {
					before, start := v.Stats().Instructions, time.Now()
					r, err := v.Run(ctx, Command{Shell: command})
					inGuest += time.Since(start)
					instructions += v.Stats().Instructions - before
					if err != nil {
						return "", err
					}
					return fmt.Sprintf("%d %s", r.ExitCode, r.Stdout), nil
				})
				if err != nil {
					b.Fatal(err)
				}
				executions += len(e.Leaves)
			}
			b.ReportMetric(float64(executions)/inGuest.Seconds(), "executions/s-in-guest")
			b.ReportMetric(float64(instructions)/float64(executions)/1e6, "Minstructions/execution")
			b.ReportMetric(float64(b.Elapsed()-inGuest)/float64(time.Millisecond)/float64(executions), "ms-besides/execution")
		})
	}
}
