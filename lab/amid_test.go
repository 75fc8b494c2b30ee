package lab

import (
	"encoding/binary"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"nvlab/nvdimm/persist"
)

// storer is a program that maps /dev/dax0.0 and makes stores of every kind there,
// over and over: locked, plain, by a string instruction, with each kind of flush
// behind it, and around the caches. It does nothing for a while before the locked
// one, which decides them all.
func storer() []byte {
	disp := func(op string, disp uint32, imm ...byte) string {
		return op + string(binary.LittleEndian.AppendUint32(nil, disp)) + string(imm)
	}
	store := func(at uint32) string { return disp("\x48\xc7\x83", at, 7, 0, 0, 0) } // mov qword [rbx + at], 7
	loop := disp("\xf0\x48\x83\x8b", 512, 1) +                                      // lock or qword [rbx + 512], 1
		disp("\x48\xff\x83", 0) + // inc qword [rbx]
		store(64) + disp("\x66\x0f\xae\xb3", 64) + // clwb
		store(128) + disp("\x66\x0f\xae\xbb", 128) + // clflushopt
		store(192) + disp("\x0f\xae\xbb", 192) + // clflush
		disp("\x48\x0f\xc3\x83", 256) + // movnti [rbx + 256], rax
		disp("\x48\x8d\xbb", 320) + "\xb9\x10\x00\x00\x00\xf3\x48\xab" + // lea rdi, [rbx + 320]; mov ecx, 16; rep stosq
		"\xb9\x88\x13\x00\x00\xff\xc9\x75\xfc" // mov ecx, 5000; dec ecx; jnz
	code := "\xbe\x02\x00\x00\x00\xb8\x02\x00\x00\x00\x0f\x05\x49\x89\xc0" + // open(rdi, O_RDWR) → r8
		"\x31\xff\xbe\x00\x00\x20\x00\xba\x03\x00\x00\x00\x41\xba\x01\x00\x00\x00\x45\x31\xc9\xb8\x09\x00\x00\x00\x0f\x05\x48\x89\xc3" + // mmap of 2 MiB → rbx
		loop + disp("\xe9", -uint32(len(loop)+5))
	code = disp("\x48\x8d\x3d", uint32(len(code))) + code + "/dev/dax0.0\x00" // lea rdi, [rip + path]
	const base, headers = 0x400000, 120
	b := append([]byte("\x7fELF\x02\x01\x01"), make([]byte, 9)...)
	for _, f := range []any{
		[]uint16{2, 62}, uint32(1), []uint64{base + headers, 64, 0}, uint32(0), []uint16{64, 56, 1, 0, 0, 0}, // an executable for x86-64 with one segment
		[]uint32{1, 5}, []uint64{0, base, base, uint64(headers + len(code)), uint64(headers + len(code)), 4096},
	} {
		b, _ = binary.Append(b, binary.LittleEndian, f)
	}
	return append(b, code...)
}

// shellBytes writes bytes as busybox's printf takes them.
func shellBytes(b []byte) string {
	var s strings.Builder
	for _, c := range b {
		fmt.Fprintf(&s, `\%03o`, c)
	}
	return s.String()
}

// TestAmid: in the middle of stores of every kind, of an armed cut that counts, of
// a hotplug and of a label write that the power fails in, what was taken from the
// states goes on as what was computed, and so do forks and what was restored.
func TestAmid(t *testing.T) {
	l := reusing(t)
	cap := func(n int64) *int64 { return &n }
	for _, platform := range []struct {
		name  string
		o     VMOptions
		loses bool // what is undecided when the power fails
		on    bool // to a label write that is cut, and boots after that
	}{
		{"ADR", VMOptions{Cap: cap(2)}, true, true},
		{"eADR", VMOptions{Cap: cap(3)}, false, false},
		{"hints", VMOptions{FlushHints: 2}, true, false},
	} {
		t.Run(platform.name, func(t *testing.T) {
			var boots []bool
			var answered int
			scenario := func(forks bool) (list []seen) {
				boots = nil
				x := l.Experiment(t.Name(), t.TempDir())
				defer x.Close()
				disk := func(name string) *Backend {
					b, err := x.FileBackend(FileBackendOptions{Path: name, Size: 36 << 20, Share: true})
					if err != nil {
						t.Fatal(err)
					}
					return b
				}
				o := platform.o
				o.Slots, o.MaxMem, o.CPUs = 2, 4<<30, 2
				v, err := x.VM(o)
				if err != nil {
					t.Fatal(err)
				}
				first := disk("first.img")
				if _, err := v.Plug(PlugOptions{Backend: first, ID: "first", LabelSize: 128 << 10}); err != nil {
					t.Fatal(err)
				}
				boot := func() {
					mustBoot(t, v)
					boots = append(boots, v.recalled)
				}
				boot()
				mustRun(t, v, "ndctl disable-region region0 && ndctl init-labels -f nmem0 && ndctl enable-region region0 && ndctl create-namespace -m devdax -r region0 -s 32M --align=4K")
				mustRun(t, v, "printf '"+shellBytes(storer())+"' >/tmp/storer && chmod +x /tmp/storer")
				list = append(list, lookAt(t, v, first, "/tmp/storer >/dev/null 2>&1 & sleep 0.005; kill -0 $! && echo it stores"))
				answered = v.answered
				if err := v.PowerCutOn(PowerCut{Event: EventStore, Nth: 1 << 30}); err != nil {
					t.Fatal(err)
				}
				list = append(list, lookAt(t, v, first, "true"))
				second := disk("second.img")
				if _, err := v.Plug(PlugOptions{Backend: second, ID: "second", LabelSize: 128 << 10}); err != nil {
					t.Fatal(err)
				}
				list = append(list, lookAt(t, v, second, "true"))
				s, f := mustFork(t, v)
				goOn := func(v *VM) (list []seen) {
					looked := lookAt(t, v, v.NVDIMMs()[0].Backend(), "sleep 0.005; ls /sys/bus/nd/devices")
					looked.happened = "" // what happened to a VM before it was forked is not the fork's
					list = append(list, looked)
					if err := v.PowerCut(persist.KeepRandom, false); err != nil {
						t.Fatal(err)
					}
					for _, d := range v.NVDIMMs() {
						sum, err := d.Backend().SHA256(t.Context(), 0, nil)
						if err != nil {
							t.Fatal(err)
						}
						list = append(list, seen{disk: sum})
					}
					return list
				}
				went := goOn(v)
				if lost := went[0].disk != went[1].disk; lost != platform.loses {
					t.Errorf("stores are lost with the power: %v, want %v", lost, platform.loses)
				}
				list = append(list, went...)
				if forks {
					same(t, "a fork", goOn(f), went)
					if err := f.Restore(t.Context(), s); err != nil {
						t.Fatal(err)
					}
					same(t, "a fork that was restored", goOn(f), went)
				}
				if !platform.on {
					return list
				}
				if err := v.PowerCutOn(PowerCut{Event: EventLabelWrite, Nth: 2, Keep: persist.KeepRandom}); err != nil {
					t.Fatal(err)
				}
				boot()
				r, err := v.Run(t.Context(), Command{Shell: "ndctl disable-region all; ndctl init-labels -f nmem1", Timeout: DefaultTimeout})
				if err != nil || v.State() != Off {
					t.Fatalf("after a cut at a label write the VM is %s, %v\n%s%s", v.State(), err, r.Stdout, r.Stderr)
				}
				boot()
				return append(list, lookAt(t, v, second, "ndctl list -DRNi"))
			}
			computed := scenario(true)
			for _, was := range boots {
				if was {
					t.Fatal("a boot is recalled that nobody computed")
				}
			}
			if s := &computed[0]; !strings.Contains(s.output, "it stores") {
				t.Fatalf("the program says %q", s.output)
			}
			cached := scenario(false)
			if slices.Contains(boots, false) || answered == 0 {
				t.Errorf("of what is known boots are recalled: %v, and %d calls", boots, answered)
			}
			same(t, "what was taken from the states", cached, computed)
		})
	}
}

func same(t *testing.T, what string, got, want []seen) {
	t.Helper()
	for i := range got {
		if differs := got[i].differs(want[i]); differs != "" {
			t.Errorf("%s has at step %d another %s", what, i, differs)
		}
	}
	if len(got) != len(want) || reflect.DeepEqual(got[0], seen{}) {
		t.Errorf("%s has %d steps, want %d that show anything", what, len(got), len(want))
	}
}
