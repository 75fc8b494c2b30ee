package qemutest

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// bulkRounds is how often BenchmarkBulk does each job in a round of the
// benchmark, and bulkWarm how often before: then programs and kernel are
// translated on both sides.
const bulkRounds, bulkWarm = 3, 1

// bulkJobs write much to /dev/pmem0, each after the one before.
var bulkJobs = []struct{ name, command string }{
	{"dd", "dd if=/dev/zero of=/dev/pmem0 bs=1M count=512 conv=fsync"},
	{"mkfs.xfs", "mkfs.xfs -q -f /dev/pmem0 && sync"},
	{"mkfs.ext4", "mkfs.ext4 -q -F /dev/pmem0 && sync"},
	{"files", `set -e
mkdir -p /tmp/bulk
mount /dev/pmem0 /tmp/bulk
i=0
while [ $i -lt 500 ]; do echo "$i is a small file" >/tmp/bulk/$i; i=$((i+1)); done
sync
umount /tmp/bulk`},
}

// BenchmarkBulk measures commands that write much to an NVDIMM of 1 GiB, on
// QEMU's TCG and on nvlab in turn, with one kernel, one initramfs and equal
// memory. Nothing is traced and no power cut is armed, and nvlab must be able
// to answer one at any time. Times are medians on guests that have booted, and
// a ratio is that of nvlab's to QEMU's: of wall time, and of processor time,
// which tells more where others use the machine.
func BenchmarkBulk(b *testing.B) {
	needQEMU(b)
	mustGuest(b)
	file := DIMM{ID: "nvdimm0", Path: "pmem0.img", Size: 1 << 30, Share: true}
	for _, c := range []struct {
		name, persistence string
		dimm              DIMM
	}{
		{"memory", "", DIMM{ID: "nvdimm0", Size: 1 << 30}},
		{"shared", "mem-ctrl", file},
		{"shared-eadr", "cpu", file},
	} {
		b.Run(c.name, func(b *testing.B) {
			o := Options{Memory: 512 << 20, Slots: 1, MaxMem: 4 << 30, Persistence: c.persistence, DIMMs: []DIMM{c.dimm}}
			var sides []side
			for _, l := range launchers {
				m, err := l.start(b.Context(), o, b.TempDir())
				if err != nil {
					b.Fatal(err)
				}
				defer m.Close()
				sides = append(sides, m)
			}
			took := make([][2][]measure, len(bulkJobs))
			round := func(counts bool) {
				for i, j := range bulkJobs {
					for n, m := range sides {
						start, before := time.Now(), processorTime(m)
						status, stdout, stderr, err := m.Run(j.command)
						if err != nil || status != 0 {
							b.Fatalf("%s on %s ends with status %d and %v:\n%s%s", j.name, launchers[n].name, status, err, stdout, stderr)
						}
						if counts {
							took[i][n] = append(took[i][n], measure{wall: time.Since(start), cpu: processorTime(m) - before})
						}
					}
				}
			}
			for range bulkWarm {
				round(false)
			}
			for b.Loop() {
				for range bulkRounds {
					round(true)
				}
			}
			b.ReportMetric(0, "ns/op")
			for i, j := range bulkJobs {
				qemu, own := median(took[i][0]), median(took[i][1])
				b.Logf("load %s; %s: QEMU: %v; nvlab: %v", load(), j.name, qemu, own)
				b.ReportMetric(own.wall.Seconds()/qemu.wall.Seconds(), j.name+"-ratio")
				b.ReportMetric(own.cpu.Seconds()/qemu.cpu.Seconds(), j.name+"-cpu-ratio")
			}
		})
	}
}

// processorTime is what the process of a side has used.
func processorTime(s side) time.Duration {
	pid := os.Getpid()
	if q, ok := s.(*theirs); ok {
		pid = q.process.Process.Pid
	}
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(text), ") ") // proc(5): the name may hold anything
	var ticks time.Duration                       // of user and system, of 10 ms
	for i, f := range strings.Fields(rest) {
		if i == 11 || i == 12 {
			n, _ := strconv.Atoi(f)
			ticks += time.Duration(n)
		}
	}
	return ticks * 10 * time.Millisecond
}
