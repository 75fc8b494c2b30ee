package qemutest

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"nvlab/lab"
)

// reusedVariable holds the job of a process that takes its boot from states.
const reusedVariable = "NVLAB_QEMUTEST_REUSED"

// A reusedJob is what a wholeJob is, by package lab: its boot is taken from the
// states, where there are some.
type reusedJob struct {
	States  string // folder
	Backend string // path
}

func (j *reusedJob) run(ctx context.Context) error {
	l, err := lab.New(lab.Options{Engine: "soft", Reuse: true, States: j.States})
	if err != nil {
		return err
	}
	x := l.Experiment("job", filepath.Dir(j.Backend))
	defer x.Close()
	v, err := x.VM(lab.VMOptions{Memory: jobMemory, Slots: 1, MaxMem: 4 << 30})
	if err != nil {
		return err
	}
	b, err := x.FileBackend(lab.FileBackendOptions{Path: j.Backend, Size: jobSize, Share: true})
	if err != nil {
		return err
	}
	if _, err := v.Plug(lab.PlugOptions{Backend: b, LabelSize: jobLabelSize}); err != nil {
		return err
	}
	if err := v.Boot(ctx, 0); err != nil {
		return err
	}
	r, err := v.Run(ctx, lab.Command{Args: []string{"ndctl", "list", "-DRNBi"}, Check: true})
	if err != nil {
		return err
	}
	if err := v.PowerOff(ctx); err != nil {
		return err
	}
	fmt.Printf("%s\n/script ended with status 0\n", r.Stdout)
	return nil
}

// BenchmarkReusedJob measures the whole job of nvlab with its boot from the
// states of an earlier process, and QEMU's in turn. The ratio is that of the wall
// times' medians, to the better of QEMU's; cold is the first, which computes the
// boot and keeps it.
func BenchmarkReusedJob(b *testing.B) {
	needQEMU(b)
	j := newWholeJob(b)
	text, err := json.Marshal(reusedJob{States: b.TempDir(), Backend: j.backend})
	if err != nil {
		b.Fatal(err)
	}
	reused := func() *exec.Cmd {
		cmd := exec.Command(j.self)
		cmd.Env = append(os.Environ(), reusedVariable+"="+string(text))
		return cmd
	}
	cold := measured(b, reused())
	var qemu, ours []measure
	for b.Loop() {
		for range rounds {
			qemu = append(qemu, measured(b, j.qemu(j.VmlinuxPath)))
			ours = append(ours, measured(b, reused()))
		}
	}
	theirs, own := median(qemu), median(ours)
	b.Logf("load %s; QEMU: %v; cold: %v; reused: %v", load(), theirs, cold, own)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(theirs.wall.Seconds(), "qemu-s")
	b.ReportMetric(cold.wall.Seconds(), "cold-s")
	b.ReportMetric(own.wall.Seconds(), "nvlab-s")
	b.ReportMetric(own.wall.Seconds()/theirs.wall.Seconds(), "ratio")
	b.ReportMetric(own.cpu.Seconds()/theirs.cpu.Seconds(), "cpu-ratio")
}
