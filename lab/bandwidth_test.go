package lab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// bandwidthVariable makes the test binary, in a guest or here, a program that
// copies through a mapping: "write|read FILE BYTES ROUNDS".
const bandwidthVariable = "NVLAB_BANDWIDTH"

// block is what one copy moves: more than a first-level cache holds.
const block = 1 << 20

// bandwidthMain maps a file, or the device of a namespace, and copies into it
// or out of it.
func bandwidthMain(args string) error {
	var direction, path string
	var size, rounds int
	if _, err := fmt.Sscan(args, &direction, &path, &size, &rounds); err != nil {
		return fmt.Errorf("%s=%q: %w", bandwidthVariable, args, err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	mem, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("mapping %s: %w", path, err)
	}
	defer unix.Munmap(mem)
	buffer := make([]byte, block)
	for i := range buffer {
		buffer[i] = byte(i * 7)
	}
	for range rounds {
		for at := 0; at+block <= size; at += block {
			if direction == "write" {
				copy(mem[at:], buffer)
			} else {
				copy(buffer, mem[at:])
			}
		}
	}
	return nil
}

// BenchmarkBandwidth has one program copy through a mapping of an NVDIMM in a
// guest (a devdax namespace), and through the host's own mapping of that file.
// All times are the host's; the first round, which takes the page faults, is
// in none.
func BenchmarkBandwidth(b *testing.B) {
	const size = 32 << 20
	const noAVX = "GODEBUG=cpu.avx=off,cpu.avx2=off" // the guest's processor has none
	for _, engine := range engineNames {
		b.Run(engine, func(b *testing.B) {
			x, v, backend := engineVMOf(b, selfExperiment(b), engine)
			mustBoot(b, v)
			mustRun(b, v, "ndctl disable-region region0 && ndctl init-labels -f nmem0 && ndctl enable-region region0 && "+
				"ndctl create-namespace -m devdax -r region0 --align=4K")
			device := strings.TrimSpace(mustRun(b, v, "ls /dev/dax*"))
			inGuest := func(args string) {
				mustRun(b, v, fmt.Sprintf("%s='%s' %s /init", bandwidthVariable, args, noAVX))
			}
			file := filepath.Join(x.Dir(), filepath.Base(backend.Path()))
			onHost := func(args string) {
				self, err := os.Executable()
				if err != nil {
					b.Fatal(err)
				}
				c := exec.Command(self)
				c.Env = append(os.Environ(), bandwidthVariable+"="+args, noAVX)
				if out, err := c.CombinedOutput(); err != nil {
					b.Fatalf("%v\n%s", err, out)
				}
			}
			for _, direction := range []string{"read", "write"} {
				guest := rate(inGuest, direction, device, size)
				host := rate(onHost, direction, file, size)
				b.ReportMetric(guest/1e6, direction+"-MB/s")
				b.ReportMetric(host/1e6, "host-"+direction+"-MB/s")
				b.ReportMetric(guest/host, direction+"-ratio")
			}
		})
	}
}

// rate is bytes a second, of as many rounds as take longer than the program's
// start.
func rate(run func(args string), direction, path string, size int) float64 {
	took := func(rounds int) time.Duration {
		start := time.Now()
		run(fmt.Sprintf("%s %s %d %d", direction, path, size, rounds))
		return time.Since(start)
	}
	first := took(1)
	for rounds := 1; ; rounds *= 4 {
		if d := took(1+rounds) - first; d > max(first, 500*time.Millisecond) {
			return float64(size) * float64(rounds) / d.Seconds()
		}
	}
}
