package lab

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"nvlab/internal/cow"
	"nvlab/internal/states"
	"nvlab/internal/units"
	"nvlab/nvdimm/persist"
	"nvlab/nvdimm/power"
	"nvlab/vmm"
)

// rebooted boots a VM, stores to its NVDIMM, cuts the power and boots again, and says of each
// boot what is seen and whether it went on from a prefix.
func rebooted(t *testing.T, l *Lab, cpus int) (list []seen, continued []bool) {
	t.Helper()
	x := l.Experiment(t.Name(), t.TempDir())
	defer x.Close()
	v, disk := labelledVM(t, x)
	v.opts.CPUs = cpus
	for _, command := range []string{makeNamespace, "ndctl list -NRi; head -c 7 /dev/pmem0"} {
		mustBoot(t, v)
		if v.recalled {
			t.Fatal("a boot is recalled whose NVDIMM holds what none did")
		}
		continued = append(continued, v.continued)
		list = append(list, lookAt(t, v, disk, "cat /proc/sys/kernel/random/uuid; "+command))
		if err := v.PowerCut(persist.KeepNone, false); err != nil {
			t.Fatal(err)
		}
	}
	return list, continued
}

// TestPrefix: a boot that goes on from the prefix of another comes to what it does from
// power-on, with random numbers of its own.
func TestPrefix(t *testing.T) {
	l := reusing(t)
	never, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	for cpus := 1; cpus <= 2; cpus++ {
		t.Run(units.Count(cpus, "CPU"), func(t *testing.T) {
			want, _ := rebooted(t, never, cpus)
			have, continued := rebooted(t, l, cpus)
			if got := fmt.Sprint(continued); got != "[false true]" {
				t.Fatalf("of two boots of one VM these go on from a prefix: %s, want [false true]", got)
			}
			for i := range want {
				if differs := have[i].differs(want[i]); differs != "" {
					t.Errorf("with prefixes, boot %d has another %s", i+1, differs)
				}
			}
			if a, b := want[0].output[:36], want[1].output[:36]; a == b {
				t.Errorf("two boots of one VM have the random UUID %s, want two", a)
			}
		})
	}
}

// TestPrefixOfAnotherNFIT: a boot goes on from the prefix of one whose NVDIMMs are others, as
// long as its NFIT is as long, and comes to what it does from power-on; and where the guest
// makes something else of its NFIT it goes on by itself.
func TestPrefixOfAnotherNFIT(t *testing.T) {
	l := reusing(t)
	never, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	given := func(change func(nfit []byte)) func(*testing.T, *VM) {
		return func(t *testing.T, v *VM) {
			tables, err := v.root.Tables(vmm.NewLayout(v.opts.Memory, v.opts.PhysBits).Reserved.Base)
			if err != nil {
				t.Fatal(err)
			}
			nfit := bytes.Clone(nfitOf(tables))
			change(nfit)
			if err := v.SetTable(nfitSignature, nfit, false); err != nil {
				t.Fatal(err)
			}
		}
	}
	durable := int64(2)
	for _, tt := range []struct {
		name      string
		cap       *int64
		plug      PlugOptions
		size      uint64
		do        func(*testing.T, *VM)
		strict    bool // and goes on after a fault
		continued bool
		verify    bool
	}{
		{name: "the first", size: 64 << 20},
		{name: "another size", size: 1 << 30},
		{name: "another capability", cap: &durable, size: 64 << 20, continued: true},
		{name: "not armed", plug: PlugOptions{Unarmed: true}, size: 32 << 20, continued: true},
		{name: "one that is given", size: 64 << 20, do: given(func([]byte) {})},
		{name: "another size of one that is given", size: 128 << 20, do: given(func([]byte) {})},
		{name: "another creator of one that is given", size: 64 << 20, do: given(func(nfit []byte) { nfit[28]++; nfit[9]-- }), verify: true},
		{name: "a wrong check sum of one that is given", size: 64 << 20, do: given(func(nfit []byte) { nfit[9]++ })},
		{name: "a third size of one that is given", size: 256 << 20, do: given(func([]byte) {}), continued: true, verify: true},
		{name: "another size of one that may not be malformed, whose kernel may oops", size: 512 << 20, strict: true, continued: true, verify: true},
		{name: "the first again, which is recalled", size: 64 << 20, verify: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			boot := func(l *Lab) (s seen, continued bool) {
				x := l.Experiment(t.Name(), t.TempDir())
				defer x.Close()
				cap := int64(3)
				if tt.cap != nil {
					cap = *tt.cap
				}
				v, err := x.VM(VMOptions{Slots: 1, MaxMem: 4 << 30, Cap: &cap, Malformed: !tt.strict, AllowOops: tt.strict})
				if err != nil {
					t.Fatal(err)
				}
				b, err := x.RAMBackend(RAMBackendOptions{Size: tt.size})
				if err != nil {
					t.Fatal(err)
				}
				o := tt.plug
				o.Backend, o.ID = b, "nvdimm1"
				if _, err := v.Plug(o); err != nil {
					t.Fatal(err)
				}
				if tt.do != nil {
					tt.do(t, v)
				}
				mustBoot(t, v)
				continued = v.continued
				return lookAt(t, v, b, "sha256sum < /sys/firmware/acpi/tables/NFIT; ndctl list -DRu; dmesg"), continued
			}
			want, _ := boot(never)
			have, continued := boot(l)
			if continued != tt.continued {
				t.Errorf("it goes on from the prefix of another: %v, want %v", continued, tt.continued)
			}
			if differs := have.differs(want); differs != "" {
				t.Errorf("with prefixes it has another %s", differs)
			}
			if tt.verify {
				verify := l.withStates(l.states.Dir())
				verify.opts.Verify = true
				boot(verify) // ends the test where what is computed is not what is kept
				if n := verify.Compared(); n == 0 {
					t.Error("a boot that is verified is compared with no state")
				}
			}
		})
	}
}

// TestFaultInPrefix: where a kernel reports a fault in its prefix, here by what is on its
// command line, that is no prefix for another boot, which may not report one.
func TestFaultInPrefix(t *testing.T) {
	l := reusing(t)
	never, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	boot := func(l *Lab, size uint64, allow bool) (says string, continued bool) {
		x := l.Experiment(t.Name(), t.TempDir())
		defer x.Close()
		v, _ := ramVM(t, x, size)
		v.opts.Cmdline, v.opts.AllowOops = `"fault=: 0002 [#1]"`, allow
		err := v.Boot(t.Context(), DefaultTimeout)
		if err == nil {
			_, err = v.Run(t.Context(), Command{Shell: "true", Timeout: DefaultTimeout, Check: true})
		}
		if err != nil {
			says, _, _ = strings.Cut(err.Error(), "\n")
		}
		return says, v.continued
	}
	for i, allow := range []bool{true, true, false, true} {
		size := uint64(16+i) << 20
		want, _ := boot(never, size, allow)
		says, continued := boot(l, size, allow)
		if says != want || continued || (says == "") != allow {
			t.Errorf("boot %d, where faults may be: %v, says %q and goes on from a prefix: %v; want %q, from none", i+1, allow, says, continued, want)
		}
	}
}

// TestPrefixIsComputedOnce: of boots that come to one prefix at a time, with NVDIMMs of their
// own, one keeps its end and the next its stages, from which all others go on.
func TestPrefixIsComputedOnce(t *testing.T) {
	l := reusing(t)
	var started, continued atomic.Int64
	var group sync.WaitGroup
	for i := range 4 {
		x := l.Experiment(fmt.Sprint(t.Name(), i), t.TempDir())
		defer x.Close()
		v, _ := ramVM(t, x, uint64(16+i)<<20)
		group.Go(func() {
			if err := v.Boot(t.Context(), 0); err != nil {
				t.Error(err)
			}
			if v.continued {
				continued.Add(1)
			} else {
				started.Add(1)
			}
		})
	}
	group.Wait()
	if started.Load() != 2 || continued.Load() != 2 {
		t.Errorf("of 4 boots %d went on from a prefix, and %d computed it; want 2 and 2", continued.Load(), started.Load())
	}
}

// TestBootTimeout: a boot that takes too long ends at the same instant and with the same words
// whether its prefix is computed, kept, or that of a boot with other NVDIMMs.
func TestBootTimeout(t *testing.T) {
	l := reusing(t)
	never, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	boot := func(l *Lab, size uint64, timeout time.Duration) (clock time.Duration, says string) {
		x := l.Experiment(t.Name(), t.TempDir())
		defer x.Close()
		v, _ := ramVM(t, x, size)
		err := v.Boot(t.Context(), timeout)
		return v.Clock(), fmt.Sprint(err)
	}
	whole, _ := boot(never, 16<<20, 0)
	for _, timeout := range []time.Duration{time.Millisecond, whole / 2, whole * 98 / 100, whole - 1} {
		wantClock, wantSays := boot(never, 16<<20, timeout)
		if wantClock != timeout || !strings.Contains(wantSays, "no answer within") {
			t.Errorf("a boot of %v with a timeout of %v ends at %v: %s", whole, timeout, wantClock, wantSays)
		}
		for i := range 3 {
			if clock, says := boot(l, uint64(16+16*i)<<20, timeout); clock != wantClock || says != wantSays {
				t.Errorf("with prefixes, boot %d with a timeout of %v ends at %v, want %v: %s", i+1, timeout, clock, wantClock, says)
			}
		}
	}
}

// TestStageThatCannotBeTaken: a boot that took stages, and cannot take the next, is computed
// from power-on, and keeps what is right for others.
func TestStageThatCannotBeTaken(t *testing.T) {
	l := reusing(t)
	never, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	boot := func(l *Lab, size uint64) (s seen, continued bool) {
		x := l.Experiment(t.Name(), t.TempDir())
		defer x.Close()
		v, b := ramVM(t, x, size)
		mustBoot(t, v)
		continued = v.continued
		return lookAt(t, v, b, "ndctl list -DRu; dmesg"), continued
	}
	boot(l, 16<<20)
	boot(l, 32<<20) // which keeps the stages
	for i, stage := range []string{"stage 2 of a prefix", "stage 3 of a prefix"} {
		spoil(t, l, stage)
		for j, continues := range []bool{false, true} {
			size := uint64(4+2*i+j) * 16 << 20
			want, _ := boot(never, size)
			have, continued := boot(l, size)
			if continued != continues {
				t.Errorf("after %s could not be taken, boot %d goes on from a prefix: %v, want %v", stage, j+1, continued, continues)
			}
			if differs := have.differs(want); differs != "" {
				t.Errorf("after %s could not be taken, boot %d has another %s", stage, j+1, differs)
			}
		}
	}
}

// spoil makes states whose label says so ones that no machine can be made of.
func spoil(t *testing.T, l *Lab, label string) {
	t.Helper()
	spoilt := 0
	for _, info := range l.states.List() {
		if !strings.Contains(info.Label, label) {
			continue
		}
		f, err := l.states.Get(info.Name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		s, err := decodeBoot(f.Meta())
		if err != nil {
			t.Fatal(err)
		}
		s.Machine.Processors = s.Machine.Processors[:8]
		meta, err := s.encode()
		if err != nil {
			t.Fatal(err)
		}
		images, err := f.Images(nil)
		if err != nil {
			t.Fatal(err)
		}
		defer cow.CloseAll(images)
		var name states.Name
		for i, part := range strings.Split(strings.TrimSuffix(info.Name, ".state"), "-") {
			sum := []*states.Sum{&name.Family, &name.Key, &name.Variant}[i]
			if _, err := hex.Decode(sum[:], []byte(part)); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.states.Put(name, states.State{Label: info.Label, Meta: meta, Images: images}); err != nil {
			t.Fatal(err)
		}
		spoilt++
	}
	if spoilt == 0 {
		t.Fatalf("no state is called %q", label)
	}
}

// TestSharedStorageIsInTheKey: what is durable of two NVDIMMs on one file is not what it
// is of two on files of their own, so that neither has the states of the other.
func TestSharedStorageIsInTheKey(t *testing.T) {
	l := reusing(t)
	boot := func(paths ...string) *VM {
		t.Helper()
		x := l.Experiment(t.Name(), t.TempDir())
		t.Cleanup(func() { x.Close() })
		v, err := x.VM(VMOptions{Slots: 2, MaxMem: 4 << 30})
		if err != nil {
			t.Fatal(err)
		}
		for i, path := range paths {
			b, err := x.FileBackend(FileBackendOptions{Path: path, Size: 64 << 20, Share: true})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := v.Plug(PlugOptions{Backend: b, ID: fmt.Sprint("nvdimm", i)}); err != nil {
				t.Fatal(err)
			}
		}
		mustBoot(t, v)
		return v
	}
	boot("one.img", "two.img")
	v := boot("same.img", "same.img")
	if v.recalled {
		t.Error("a boot of two NVDIMMs on one file is recalled from one of two on two")
	}
	if !v.continued {
		t.Error("a boot of two NVDIMMs on one file does not go on from the prefix of one of two on two")
	}
	have, err := v.power.Save()
	if err != nil {
		t.Fatal(err)
	}
	first := []power.Part{{Start: 0, End: 64 << 20}}
	want := []power.Medium{{Slot: 0, Parts: first}, {Slot: 1, Parts: first}}
	if !reflect.DeepEqual(have.Media, want) {
		t.Errorf("two NVDIMMs on one file have the media %+v, want %+v", have.Media, want)
	}
	if v := boot("same.img", "same.img"); !v.recalled {
		t.Error("a second boot of two NVDIMMs on one file is not recalled")
	}
}
