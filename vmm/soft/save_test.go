package soft

import (
	"bytes"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"nvlab/internal/pages"
	"nvlab/vmm"
	"nvlab/vmm/soft/apic"
	"nvlab/vmm/soft/x86"
)

// What of these structs is not saved, and why. The rest is: by being part of
// savedProcessors or savedProcessor.
var notSaved = map[reflect.Type]map[string]string{
	reflect.TypeFor[cpu](): {"cpuWork": "see below", "cpuCaches": "see below"},
	reflect.TypeFor[cpuWork](): {
		"p": "wiring", "id": "wiring",
		"tlb": "derived of CPL", "jc": "derived of CPL", "mode": "derived of CPL, CR0, CR4 and MXCSR",
		"gens": "derived: of the jump cache", "pages": "derived: those that gens are of",
		"at": "over a call only", "next": "of the instruction that executes", "implicit": "of the access at hand", "exc": "of the instruction that executes",
		"attn": "set by a load", "others": "derived of the clocks",
		"observing": "wiring: whether there is an observer",
		"kind":      "of the instruction that executes", "group": "of the instruction that executes",
		"lockDue": "of the instruction that executes", "memType": "of the instruction that executes",
		"ordered": "told at the end of Run",
		"values":  "Save reveals them", "effect": "of the instruction that executes",
		"events": "scratch",
		"native": "over a call only",
		"step":   "scratch", "buf": "scratch", "begun": "of the instruction that executes",
	},
	reflect.TypeFor[cpuCaches](): {
		"fetched": "derived: of the jump cache",
		"globals": "derived: of the TLB", "tlbs": "derived of memory: see tables.go",
		"jcs": "derived of memory", "landings": "derived of memory",
	},
	reflect.TypeFor[apic.APIC](): {"processor": "wiring", "first": "wiring"},
	reflect.TypeFor[processors](): {
		"bus": "wiring", "seed": "of the ProcessorSpec", "parking": "of the ProcessorSpec", "cpuid": "of the ProcessorSpec",
		"mem": "the machine's", "cpus": "saved one by one", "cpu": "saved as a number", "streams": "asked of the observer by Run", "observer": "wiring", "watch": "wiring", "loads": "wiring", "copies": "wiring", "values": "wiring", "lookups": "of the observer", "refetched": "derived of memory",
		"machineChecks": "of the ProcessorSpec", "poison": "the machine's: it is told of it anew", "consumed": "wiring", "stop": "of who runs the machine: see StopBefore",
		"cache": "derived of memory", "generations": "derived: of the jump cache", "running": "over a Run only", "epoch": "derived: of the jump cache", "translations": "wiring", "compiles": "of the Engine", "tables": "derived: of the TLB", "freeTables": "derived: of the TLB",
		"tracking": "the machine's: set by Cleaned", "stopping": "false between Runs", "kick": "of the host", "dead": "not saved then", "exact": "of tests",
		"tripleFault": "saved as savedProcessors.triple", "debugger": "of the host: a load forgets what it has of the processors",
	},
}

// TestEveryFieldIsDecided has a field that is added be saved, or argued.
func TestEveryFieldIsDecided(t *testing.T) {
	saved := map[reflect.Type]bool{}
	for _, s := range []reflect.Type{reflect.TypeFor[savedProcessors](), reflect.TypeFor[savedProcessor]()} {
		for i := range s.NumField() {
			saved[s.Field(i).Type] = true
		}
	}
	for typ, reasons := range notSaved {
		left := maps.Clone(reasons)
		for i := range typ.NumField() {
			f := typ.Field(i)
			if _, ok := left[f.Name]; ok {
				delete(left, f.Name)
			} else if in, ok := reflect.TypeFor[savedProcessors]().FieldByName(f.Name); (!ok || in.Type != f.Type) && !saved[f.Type] && f.Type != reflect.TypeFor[apic.APIC]() {
				t.Errorf("%v.%s is neither saved nor in notSaved", typ, f.Name)
			}
		}
		for _, name := range slices.Sorted(maps.Keys(left)) {
			t.Errorf("notSaved has %v.%s, which is not there", typ, name)
		}
	}
}

// TestReloaded runs programs that remap memory, in processors that are saved,
// and others loaded in their place, every few instructions.
func TestReloaded(t *testing.T) {
	t.Parallel()
	for seed := range uint64(5) {
		want := newRemapping(t, Engine{}, seed)
		end := want.end(t, time.Second, nil)
		m := newRemapping(t, Engine{}, seed)
		got := m.end(t, 211, func() {
			state, err := m.p.Save()
			if err != nil {
				t.Fatal(err)
			}
			next, err := Engine{}.New(vmm.ProcessorSpec{Count: 1, Seed: 1}, m.bus)
			if err != nil {
				t.Fatal(err)
			}
			m.p.Close()
			m.p = next.(*processors)
			m.c = m.p.cpu
			if err := m.p.Map(vmm.Region{Mem: m.ram}); err != nil {
				t.Fatal(err)
			}
			if err := m.p.Load(state); err != nil {
				t.Fatal(err)
			}
			if again, _ := m.p.Save(); !bytes.Equal(state, again) {
				t.Fatal("what was loaded is saved as something else")
			}
		})
		if diff, equal := end.Differ(got), ramMismatch(m.ram, want.ram) < 0; diff != "" || !equal {
			t.Errorf("seed %d: the end of a run that was saved and loaded differs (memory equal: %v):\n%s", seed, equal, diff)
		}
		m.p.Close()
		want.p.Close()
	}
}

// TestRestoredInPlace runs programs that remap memory and change their code, and
// has the machine be again and again what it was some steps ago: memory that
// differs is copied back and told to Wrote, the rest of what was derived stays.
func TestRestoredInPlace(t *testing.T) {
	t.Parallel()
	n := 12
	if testing.Short() {
		n = 3
	}
	for seed := range uint64(n) {
		want := newRemapping(t, Engine{}, seed)
		end := want.end(t, time.Second, nil)
		for _, interpreter := range []bool{false, true} {
			m := newRemapping(t, Engine{Interpreter: interpreter}, seed)
			if m.p.cache.native != nil {
				m.p.cache.heat = 2
			}
			m.p.mem.regions[0].tracked = pages.NewSet(uint64(len(m.ram)))
			dirty := m.p.mem.regions[0].tracked
			var state []byte
			ram := newRAM(t, testEnd)
			steps, ahead := 0, 0
			got := m.end(t, 97, func() {
				switch steps++; {
				case steps%3 == 1 && ahead == 0:
					var err error
					if state, err = m.p.Save(); err != nil {
						t.Fatal(err)
					}
					copyRAM(t, ram, m.ram)
					ahead = 1 + steps%5
					dirty.Clear()
					m.p.Cleaned()
				case ahead > 1:
					ahead--
				case ahead == 1:
					ahead = 0
					for _, p := range touchedPages(m.ram, ram) {
						for at := p.at; at < p.at+p.size; at += x86.PageSize {
							if now, was := m.ram[at:at+x86.PageSize], ram[at:at+x86.PageSize]; !bytes.Equal(now, was) {
								if !dirty.Has(uint64(at) >> x86.PageShift) {
									t.Fatalf("seed %d: the page at %#x changed and is not dirty", seed, at)
								}
								copy(now, was)
								m.p.Wrote(uint64(at), x86.PageSize)
							}
						}
					}
					dirty.Clear()
					if err := m.p.Load(state); err != nil {
						t.Fatal(err)
					}
					m.p.Cleaned()
				}
			})
			if diff, equal := end.Differ(got), ramMismatch(m.ram, want.ram) < 0; diff != "" || !equal {
				t.Errorf("seed %d, interpreter=%v: the end of a run that went back in between differs (memory equal: %v):\n%s", seed, interpreter, equal, diff)
			}
			m.p.Close()
		}
		want.p.Close()
	}
}

// TestSharedTranslations runs programs in turn, a few instructions each, on
// machines that share what they made of their code, of which some is alike.
func TestSharedTranslations(t *testing.T) {
	const machines = 3
	shared := NewTranslations()
	var want [machines]State
	var run [machines]*remapping
	for i := range run {
		m := newRemapping(t, Engine{}, uint64(i/2))
		want[i] = m.end(t, time.Second, nil)
		m.p.Close()
		run[i] = newRemapping(t, Engine{Translations: shared}, uint64(i/2))
	}
	const enough, step = 100_000, 1009
	for at := time.Duration(step); ; at = min(at+step, enough) {
		for _, m := range run {
			if _, err := m.p.Run(t.Context(), at); err != nil {
				t.Fatal(err)
			}
			if b := m.p.cache; b.native != nil {
				b.heat = 2
			}
		}
		if at == enough {
			break
		}
	}
	if len(shared.kept.idle) != 1 {
		t.Errorf("%d machines that ran in turn used %d caches, want 1", machines, len(shared.kept.idle))
	}
	for i, m := range run {
		if diff := want[i].Differ(m.p.States()[0]); diff != "" {
			t.Errorf("machine %d ends otherwise when it shares translations:\n%s", i, diff)
		}
		if err := m.p.Close(); err != nil {
			t.Error(err)
		}
	}
	if len(shared.kept.idle) != 1 {
		t.Errorf("%d caches are left when the last machine is closed, want one for the next", len(shared.kept.idle))
	}
}

func TestLoadRefuses(t *testing.T) {
	m := newTestMachine(t)
	state, err := m.p.Save()
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string][]byte{"nothing": nil, "half": state[:len(state)/2], "more": append(state, 0)} {
		if err := m.p.Load(bad); err == nil {
			t.Errorf("Load of %s = nil, want an error that names both sizes", name)
		}
	}
	pair := newTestPair(t, Engine{}, 1)
	if err := pair.p.Load(state); err == nil {
		t.Error("two processors take the state of one, want an error")
	}
}

func BenchmarkSaveLoad(b *testing.B) {
	m := newTestMachine(b)
	for b.Loop() {
		state, err := m.p.Save()
		if err != nil {
			b.Fatal(err)
		}
		if err := m.p.Load(state); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkNew(b *testing.B) {
	for b.Loop() {
		p, err := Engine{}.New(vmm.ProcessorSpec{Count: 1, Seed: 1}, &fakeBus{})
		if err != nil {
			b.Fatal(err)
		}
		p.Close()
	}
}
