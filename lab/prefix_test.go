package lab

import (
	"fmt"
	"testing"

	"nvlab/internal/units"
	"nvlab/nvdimm/persist"
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
	if v := boot("same.img", "same.img"); v.recalled || v.continued {
		t.Errorf("a boot of two NVDIMMs on one file is that of two on two: recalled %v, continued %v", v.recalled, v.continued)
	}
	if v := boot("same.img", "same.img"); !v.recalled {
		t.Error("a second boot of two NVDIMMs on one file is not recalled")
	}
}
