package lab

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"nvlab/nvdimm/persist"
)

// reusing is a Lab like that of all tests, with a folder of states of its own.
func reusing(t testing.TB) *Lab {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a machine")
	}
	l, err := shared()
	if err == nil {
		err = l.Prepare(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	return l.withStates(t.TempDir())
}

// kept are the files of a Lab's states.
func kept(t testing.TB, l *Lab) []string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(l.states.Dir(), "*.state"))
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// A seen is all that a scenario can see of a VM.
type seen struct {
	id, console, output, disk string
	clock, lines, happened    string
}

// differs names what two VMs differ in.
func (s seen) differs(o seen) string {
	var list []string
	a, b := reflect.ValueOf(s), reflect.ValueOf(o)
	for i := range a.NumField() {
		if x, y := a.Field(i).String(), b.Field(i).String(); x != y {
			list = append(list, fmt.Sprintf("%s: %q, want %q", a.Type().Field(i).Name, tail(x), tail(y)))
		}
	}
	return strings.Join(list, "; ")
}

// tail is the end of a text.
func tail(s string) string { return s[max(0, len(s)-600):] }

// lookAt runs a command and looks at the VM.
func lookAt(t *testing.T, v *VM, disk *Backend, command string) seen {
	t.Helper()
	var s seen
	s.output = mustRun(t, v, command)
	snapshot, err := v.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	if s.id, err = snapshot.ID(); err != nil {
		t.Fatal(err)
	}
	if s.disk, err = disk.SHA256(t.Context(), 0, nil); err != nil {
		t.Fatal(err)
	}
	s.console, s.clock = v.Console(), fmt.Sprint(v.Clock())
	text, at := v.PrintedSince(0)
	if n := strings.Count(text, "\n"); n != len(at) {
		t.Errorf("%d lines of the console have times, want all %d", len(at), n)
	}
	s.lines, s.happened = fmt.Sprint(at), fmt.Sprintf("%+v", v.HappenedSince(0, 0))
	return s
}

// TestReuse: boots from the states come to what boots come to, to the byte, also
// the second ones, on a backend that has changed since; and what the guest looks
// at has to be as it was.
func TestReuse(t *testing.T) {
	l := reusing(t)
	// Two boots, with a namespace and data made in between.
	answered := 0
	scenario := func(fill byte) (list []seen, boots []bool) {
		x := l.Experiment(t.Name(), t.TempDir())
		defer x.Close()
		v, disk := labelledVM(t, x)
		// What no boot looks at.
		if err := disk.Write(32<<20, bytes.Repeat([]byte{fill}, 8192)); err != nil {
			t.Fatal(err)
		}
		mustBoot(t, v)
		boots = append(boots, v.recalled)
		list = append(list, lookAt(t, v, disk, makeNamespace))
		answered = v.answered
		if err := v.PowerCut(persist.KeepNone, false); err != nil {
			t.Fatal(err)
		}
		mustBoot(t, v)
		boots = append(boots, v.recalled)
		list = append(list, lookAt(t, v, disk, "ndctl list -NRi; head -c 7 /dev/pmem0"))
		return list, boots
	}
	computed, boots := scenario(0)
	if want := []bool{false, false}; !reflect.DeepEqual(boots, want) {
		t.Fatalf("without states boots are recalled: %v, want %v", boots, want)
	}
	if n := len(kept(t, l)); n < 3 || answered > 0 {
		t.Fatalf("two boots and calls leave %d states, and %d calls are answered by them; want 3 at least, and none", n, answered)
	}
	at := 0 // in their order
	for _, want := range []string{"power What:on: boot 1 ", "What:the guest answers", "label What:nvdimm1: ", "power What:fails ", "power What:on: boot 2 ", "What:the guest answers"} {
		i := strings.Index(computed[1].happened[at:], want)
		if i < 0 {
			t.Errorf("it is told that there happened %s, want %q after its byte %d", computed[1].happened, want, at)
			break
		}
		at += i
	}
	cached, boots := scenario(0)
	if want := []bool{true, true}; !reflect.DeepEqual(boots, want) {
		t.Errorf("with states boots are recalled: %v, want %v", boots, want)
	}
	if answered == 0 {
		t.Error("the call after the first boot is computed, though it is known")
	}
	for i := range cached {
		if differs := cached[i].differs(computed[i]); differs != "" {
			t.Errorf("after a boot from the states, step %d has another %s", i, differs)
		}
	}
	other, boots := scenario(1)
	if want := []bool{true, true}; !reflect.DeepEqual(boots, want) {
		t.Errorf("on a backend that changed where no boot looks, boots are recalled: %v, want %v", boots, want)
	}
	for i := range other {
		if other[i].output != computed[i].output || other[i].clock != computed[i].clock {
			t.Errorf("on such a backend, step %d gives %q at %s, want %q at %s", i, other[i].output, other[i].clock, computed[i].output, computed[i].clock)
		}
	}

	// What is computed anew is what was kept.
	taking := l
	l = l.withStates(l.states.Dir())
	l.opts.Verify = true
	if again, _ := scenario(0); again[1].id != computed[1].id || l.Compared() < 3 {
		t.Errorf("of what is kept %d states are compared, want 3 at least, and the VM is in the end %s, want %s", l.Compared(), again[1].id, computed[1].id)
	}
	l = taking

	// A label that is other than it was.
	x := l.Experiment(t.Name(), t.TempDir())
	defer x.Close()
	v, disk := labelledVM(t, x)
	if err := disk.Write(disk.Size()-128<<10, []byte("NAMESPACE_INDEX")); err != nil {
		t.Fatal(err)
	}
	mustBoot(t, v)
	if v.recalled {
		t.Error("a boot from a changed label area is recalled")
	}
}

// largest is the largest file, and what is in it.
func largest(t testing.TB, files []string) (name string, content []byte) {
	t.Helper()
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) > len(content) {
			name, content = f, b
		}
	}
	return name, content
}

// TestDamagedStates: a state that is damaged is not believed, and the boot is
// computed as if there were none. What else can be damaged is internal/states'
// to test.
func TestDamagedStates(t *testing.T) {
	l := reusing(t)
	boot := func() (seen, bool) {
		x := l.Experiment(t.Name(), t.TempDir())
		defer x.Close()
		v, disk := labelledVM(t, x)
		mustBoot(t, v)
		was := v.recalled
		return lookAt(t, v, disk, "cat /proc/uptime"), was
	}
	want, _ := boot()
	name, good := largest(t, kept(t, l))
	b := bytes.Clone(good)
	b[bytes.Index(b, []byte("Linux version"))] ^= 1
	os.Remove(name)
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Fatal(err)
	}
	got, was := boot()
	if was {
		t.Error("a state with a page damaged is believed")
	}
	if differs := got.differs(want); differs != "" {
		t.Errorf("with a page damaged, a boot comes to another %s", differs)
	}
	if got, was = boot(); !was || got != want {
		t.Errorf("after a page was damaged and the boot computed anew, it is recalled: %v, and comes to another %s", was, got.differs(want))
	}
}

func FuzzBootState(f *testing.F) {
	f.Add([]byte(`{"Version":1,"Machine":{"Engine":"soft"},"Root":{"DIMMs":[]},"Power":{"Model":"bnZsYWIgbW9kZWwgMQo=","Past":"bnZsYWIgcGFzdCAxCg=="}}`))
	f.Add([]byte(strings.Repeat("[", 1000)))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := decodeBoot(b)
		if err != nil {
			return
		}
		s.Power.state()
		again, err := s.encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := decodeBoot(again); err != nil {
			t.Fatalf("what was encoded of a state that was decoded: %v", err)
		}
	})
}
