package qemutest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

// most is what nvlab's process may have resident at its peak beyond what the
// guest has touched of its RAM and DIMMs, in bytes: 40 MB are the ops of the code
// that a boot runs.
const most = 96e6

// usage is what the job's process says of its memory at its end, in bytes.
const usage = "guest memory touched: %d, peak resident: %d\n"

// reportMemory writes usage to stderr.
func reportMemory(backend string) error {
	touched, err := guestResident(backend)
	if err != nil {
		return err
	}
	peak := residentPeak("self")
	if peak == 0 {
		return errors.New("no VmHWM in /proc/self/status")
	}
	fmt.Fprintf(os.Stderr, usage, touched, peak)
	return nil
}

// guestResident adds up what is resident of the mappings of RAM, and of the
// DIMM's file. proc(5), smaps.
func guestResident(backend string) (sum int64, err error) {
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		return 0, err
	}
	defer f.Close()
	s, guests := bufio.NewScanner(f), false
	for s.Scan() {
		line := s.Text()
		first, _, _ := strings.Cut(line, " ")
		if !strings.HasSuffix(first, ":") { // the head of a mapping
			guests = strings.Contains(line, "memfd:nvlab-memory") || strings.HasSuffix(line, backend)
		} else if field := strings.Fields(line); guests && field[0] == "Rss:" {
			kib, err := strconv.ParseInt(field[1], 10, 64)
			if err != nil {
				return 0, err
			}
			sum += kib << 10
		}
	}
	return sum, s.Err()
}

// TestPeakResident measures the whole job: nvlab's own need of memory is
// bounded, and its process has less resident than QEMU's.
func TestPeakResident(t *testing.T) {
	startsMachines(t)
	j := newWholeJob(t)
	ours := j.nvlab()
	m := measured(t, ours)
	var touched, peak int64
	for line := range strings.Lines(ours.Stderr.(*bytes.Buffer).String()) {
		fmt.Sscanf(line, usage, &touched, &peak)
	}
	if touched < 32<<20 || peak < touched {
		t.Fatalf("the process says that its guest touched %d bytes and that it had %d resident", touched, peak)
	}
	t.Logf("nvlab: %d MB resident at the peak, %d MB of the guest's", peak/1e6, touched/1e6)
	if own := peak - touched; own > most {
		t.Errorf("nvlab itself has %d MB resident at the peak, beside %d MB that its guest touched; want at most %d", own/1e6, touched/1e6, int(most/1e6))
	}
	peak = max(peak, m.resident)
	t.Run("QEMU", func(t *testing.T) {
		needQEMU(t)
		qemu := measured(t, j.qemu(j.VmlinuxPath))
		t.Logf("QEMU: %d MB", qemu.resident/1e6)
		if peak >= qemu.resident {
			t.Errorf("nvlab has %d MB resident at the peak, QEMU %d: want less", peak/1e6, qemu.resident/1e6)
		}
	})
}
