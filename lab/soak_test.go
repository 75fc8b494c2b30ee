package lab

import (
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"nvlab/internal/programs"
	"nvlab/vmm/soft"
)

// TestSoak has machines on one CPU and on two do work whose results are known,
// for 5 seconds or as long as NVLAB_SOAK says, while the collector runs all the
// time and the CPU profiler interrupts. Programs of gcc and of Go, which also
// fork, fault, map and signal, and a shell's run at the same time, on ext4 or XFS
// with DAX, and from there. The file systems outlive many boots.
func TestSoak(t *testing.T) {
	bootExperiment(t) // builds the guest, or skips
	d := 5 * time.Second
	if s := os.Getenv("NVLAB_SOAK"); s != "" {
		var err error
		if d, err = time.ParseDuration(s); err != nil {
			t.Fatal(err)
		}
	}
	work := newSoakWork(t)
	defer underPressure(t)()
	end := time.Now().Add(d)
	var machines sync.WaitGroup
	for _, m := range []soaked{
		{name: "ext4", cpus: 1, mkfs: "mkfs.ext4 -q -b 4096", fsck: "e2fsck -fn"},
		{name: "xfs", cpus: 2, mkfs: "mkfs.xfs -q -f --unsupported", fsck: "xfs_repair -n"},
	} {
		machines.Go(func() {
			t.Run(m.name, func(t *testing.T) { m.soak(t, work, end) })
		})
	}
	machines.Wait()
}

// underPressure keeps the collector and the profiler busy until what it returns
// is called.
func underPressure(t *testing.T) (relieve func()) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	percent := debug.SetGCPercent(5)
	profiled := pprof.StartCPUProfile(io.Discard) == nil
	stop, stopped := make(chan bool), make(chan bool)
	go func() {
		defer close(stopped)
		var sink [][]byte
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
			}
			sink = append(sink[:len(sink)%100], make([]byte, 1<<16))
			runtime.GC()
		}
	}()
	return func() {
		close(stop)
		<-stopped
		if profiled {
			pprof.StopCPUProfile()
		}
		debug.SetGCPercent(percent)
		runtime.ReadMemStats(&after)
		t.Logf("%d collections; the profiler ran: %v", after.NumGC-before.NumGC, profiled)
	}
}

// soakWork is work whose results are known.
type soakWork struct {
	programs map[string]string // path on the host, by name in the guest
	jobs     []soakJob
}

// A soakJob is a command, run in a folder of its own on the file system, and
// what it prints.
type soakJob struct{ command, want string }

func newSoakWork(t *testing.T) *soakWork {
	w := &soakWork{programs: map[string]string{}}
	shell := func(command string, data []byte) {
		w.jobs = append(w.jobs, soakJob{command, fmt.Sprintf("%x  -\n", sha256.Sum256(data))})
	}
	var seq []byte
	for i := range 5000 {
		seq = append(strconv.AppendInt(seq, int64(i+1), 10), '\n')
	}
	shell("seq 1 5000 > a && sort -rn a > b && sync && sort -n b | gzip | gunzip | sha256sum", seq)
	shell("dd if=/dev/zero of=z bs=64k count=32 oflag=direct 2>/dev/null && sha256sum < z", make([]byte, 2<<20))
	shell("for i in $(seq 200); do echo x > $i; mv $i new$i; done; cat new* | tr -d '\\n' | sha256sum", []byte(strings.Repeat("x", 200)))
	t.Chdir(t.TempDir()) // where programs write to
	for _, p := range slices.Concat(programs.All, programs.Stress) {
		path := p.Build(t)
		name := filepath.Base(path)
		w.programs[name] = path
		few, err := strconv.Atoi(p.Few)
		if err != nil {
			t.Fatal(err)
		}
		for _, rounds := range []int{1, few/2 + 1, few} {
			n := strconv.Itoa(rounds)
			w.jobs = append(w.jobs, soakJob{"$BIN/" + name + " " + n, programs.Native(t, path, n)})
		}
	}
	return w
}

// soaked is a machine of the soak, and the file system on its DIMM.
type soaked struct {
	name       string
	cpus       int
	mkfs, fsck string
}

func (m soaked) soak(t *testing.T, w *soakWork, end time.Time) {
	x := bootExperiment(t)
	b, err := x.FileBackend(FileBackendOptions{Path: "pmem0.img", Size: 96 << 20, Share: true})
	if err != nil {
		t.Fatal(err)
	}
	var o VMOptions
	o.Slots, o.MaxMem, o.CPUs = 1, 4<<30, m.cpus
	v, err := x.VM(o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Plug(PlugOptions{Backend: b, ID: "nvdimm1"}); err != nil {
		t.Fatal(err)
	}
	v.engine = soft.Engine{}
	random := rand.New(rand.NewPCG(1, uint64(m.cpus)))
	mount := "mkdir -p /mnt && mount -t " + m.name + " -o dax=always /dev/pmem0 /mnt"
	kept := "" // what the last boot left on the file system, by its checksum
	boots, done := 0, 0
	var instructions uint64
	for ; boots == 0 || time.Now().Before(end); boots++ {
		v.opts.Seed = random.Uint64()
		mustBoot(t, v)
		if boots == 0 {
			mustRun(t, v, "ndctl create-namespace -f -e namespace0.0 -m fsdax -M mem -a 4K && "+m.mkfs+" /dev/pmem0 && "+mount+" && mkdir /mnt/bin")
			for name, path := range w.programs {
				text, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if err := v.WriteFile(t.Context(), "/mnt/bin/"+name, text); err != nil {
					t.Fatal(err)
				}
			}
			mustRun(t, v, "chmod +x /mnt/bin/*")
		} else {
			mustRun(t, v, mount)
			if got := mustRun(t, v, "sha256sum < /mnt/kept"); got != kept {
				t.Fatalf("boot %d: the file that the last boot left has SHA256 %s, want %s", boots, got, kept)
			}
		}
		if got := mustRun(t, v, "grep -c 'dax=always' /proc/mounts"); got != "1\n" {
			t.Fatalf("%q file systems are mounted with DAX, want 1", got)
		}
		for batch := 0; batch < 4 && (batch == 0 || time.Now().Before(end)); batch++ {
			done += m.batch(t, v, w, random)
		}
		kept = mustRun(t, v, "dd if=/dev/urandom bs=64k count=16 2>/dev/null | tee /mnt/kept | sha256sum")
		mustRun(t, v, "umount /mnt && "+m.fsck+" /dev/pmem0")
		instructions += v.Stats().Instructions
		if err := v.PowerOff(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d CPUs: %d boots, %d jobs, %d million instructions", m.cpus, boots, done, instructions/1e6)
}

// batch runs a few jobs at the same time, in folders of their own, with the
// programs on the file system or in memory, and returns how many.
func (m soaked) batch(t *testing.T, v *VM, w *soakWork, random *rand.Rand) int {
	var script strings.Builder
	var jobs []soakJob
	fmt.Fprintf(&script, "rm -rf /mnt/[0-9]*; ")
	for i := range 2 + random.IntN(3) {
		job := w.jobs[random.IntN(len(w.jobs))]
		jobs = append(jobs, job)
		bin := "BIN=/mnt/bin"
		if name, _, ok := strings.Cut(strings.TrimPrefix(job.command, "$BIN/"), " "); ok && strings.HasPrefix(job.command, "$BIN/") && random.IntN(2) == 0 {
			bin = fmt.Sprintf("BIN=/tmp/%d; mkdir $BIN; cp /mnt/bin/%s $BIN", i, name)
		}
		fmt.Fprintf(&script, "(mkdir /mnt/%d && cd /mnt/%d && { %s; %s; } > out 2>&1) & ", i, i, bin, job.command)
	}
	fmt.Fprintf(&script, "wait; rm -rf /tmp/[0-9]*")
	mustRun(t, v, script.String())
	for i, job := range jobs {
		if got := mustRun(t, v, fmt.Sprintf("cat /mnt/%d/out", i)); got != job.want {
			t.Errorf("seed %d: %q printed %q, want %q; with it ran\n%s", v.opts.Seed, job.command, got, job.want, &script)
		}
	}
	return len(jobs)
}
