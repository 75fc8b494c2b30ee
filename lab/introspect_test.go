package lab

import (
	"bytes"
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"testing"

	"nvlab/guest/introspect"
	"nvlab/vmm/observe"
)

// recorder is a guest's memory that keeps what is read of it.
type recorder struct {
	introspect.Memory
	reads map[int64][]byte
}

func (r *recorder) ReadAt(p []byte, addr int64) (int, error) {
	n, err := r.Memory.ReadAt(p, addr)
	if len(r.reads[addr]) < n {
		r.reads[addr] = bytes.Clone(p[:n])
	}
	return n, err
}

// taskMoment is what TestRecordings of package introspect looks at again.
type taskMoment struct {
	CPU      int
	Seq, CR3 uint64
	Process  string
	Reads    map[int64][]byte
}

// A momentObserver keeps a moment whenever the process is another one.
type momentObserver struct {
	memory      *recorder
	live, taped *introspect.Tasks
	last        uint32
	moments     []taskMoment
}

// maxMoments of a kernel are enough to meet each of its ways.
const maxMoments = 60

func (o *momentObserver) at(e *observe.At) {
	n := o.live.At(int(e.VCPU), e.Seq, e.CR3)
	if n == o.last || len(o.moments) == maxMoments {
		return
	}
	o.last, o.memory.reads = n, map[int64][]byte{}
	n = o.taped.At(int(e.VCPU), e.Seq, e.CR3)
	o.moments = append(o.moments, taskMoment{int(e.VCPU), e.Seq, e.CR3, o.taped.Processes()[n].String(), o.memory.reads})
}

func (o *momentObserver) Store(e *observe.Store) { o.at(&e.At) }
func (o *momentObserver) Flush(e *observe.Flush) { o.at(&e.At) }
func (o *momentObserver) Fence(e *observe.Fence) { o.at(&e.At) }

// TestRecordTasks records, with NVLAB_UPDATE=1, what kernels have in memory of
// the processes that two CPUs run.
func TestRecordTasks(t *testing.T) {
	if os.Getenv("NVLAB_UPDATE") == "" {
		t.Skip("NVLAB_UPDATE is not set")
	}
	for _, release := range []string{"bullseye", "bookworm", "trixie", "forky"} {
		t.Run(release, func(t *testing.T) {
			x := vmExperiment(t)
			b, err := x.RAMBackend(RAMBackendOptions{Size: 16 << 20})
			if err != nil {
				t.Fatal(err)
			}
			v, err := x.VM(VMOptions{Release: release, Engine: "soft", CPUs: 2, Slots: 1, MaxMem: 1 << 30})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := v.Plug(PlugOptions{Backend: b, ID: "nvdimm1"}); err != nil {
				t.Fatal(err)
			}
			mustBoot(t, v)
			if err := v.readSymbols(t.Context()); err != nil {
				t.Fatal(err)
			}
			text, err := v.ReadFile(t.Context(), "/proc/kallsyms")
			if err != nil {
				t.Fatal(err)
			}
			lines := regexp.MustCompile(`(?m)^.* (__per_cpu_offset|current_task|pcpu_hot)\n`).FindAll(text, -1)
			memory := &recorder{Memory: v.m.Memory()}
			layout, symbols := v.image.layout(), introspect.ParseSymbols(slices.Concat(lines...))
			o := &momentObserver{memory: memory, live: introspect.NewTasks(v.m.Memory(), layout, symbols), taped: introspect.NewTasks(memory, layout, symbols)}
			if err := v.m.Observe(o); err != nil {
				t.Fatal(err)
			}
			mustRun(t, v, "for i in 1 2 3; do dd if=/dev/urandom of=/dev/pmem0 bs=4k count=9 seek=${i}0 2>/dev/null & done; wait; sync")
			recorded, err := json.MarshalIndent(struct {
				Symbols string
				Layout  *introspect.Layout
				Moments []taskMoment
			}{string(slices.Concat(lines...)), layout, o.moments}, "", " ")
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile("../guest/introspect/testdata/"+release+".json", append(recorded, '\n'), 0o644); err != nil {
				t.Fatal(err)
			}
		})
	}
}
