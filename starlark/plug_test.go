package nvstar

import (
	"strings"
	"testing"
)

// TestNotes: with -v a plug says what the backend can guarantee, and what the
// document suggests where that is little. A warning needs no -v.
func TestNotes(t *testing.T) {
	src := `
def test_x(t):
    vm = t.vm(slots = 4, maxmem = "1GiB")
    vm.plug(backend = t.backend_file(path = "a.img", size = "4MiB"))
    vm.plug(backend = t.backend_file(path = "b.img", size = "4MiB", share = False, pmem = True), unarmed = True)
    vm.plug(backend = t.backend_ram(size = "4MiB"), id = "ram", label_size = "128KiB")
    vm.plug(backend = t.backend_file(path = "c.img", size = "4MiB")) # of which all is said
`
	file, l := scenario(t, src)
	for _, verbose := range []bool{false, true} {
		r := &recorder{t: t}
		if o := file.Tests[0].Run(t.Context(), Env{Lab: l, Watcher: r, Verbose: verbose}); o.Status != Passed {
			t.Fatalf("outcome is %+v", o)
		}
		lines := strings.Split(strings.TrimSpace(r.logs.String()), "\n")
		want := []string{"x.star:5: warning: requesting persistence across crashes for backend file "}
		if verbose {
			want = []string{
				`x.star:4: nvdimm0: t.backend_file(path = "a.img", size = "4MiB"), page-cache: guest writes survive the VM, but not a crash of the host before it wrote them back; unarmed=True tells the guest`,
				want[0],
				`x.star:5: nvdimm1: t.backend_file(path = "b.img", size = "4MiB", share = False, pmem = True), volatile: guest writes are lost at power-off`,
				`x.star:6: ram: t.backend_ram(size = "4MiB"), volatile: guest writes are lost at power-off; unarmed=True tells the guest`,
				`x.star:6: ram: 1920KiB at the end of its memory are out of the guest's reach: what the guest sees is a multiple of 2MiB`,
			}
		}
		if len(lines) != len(want) {
			t.Fatalf("verbose=%v: %d lines, want %d:\n%s", verbose, len(lines), len(want), r.logs.String())
		}
		for i, line := range lines {
			if !strings.Contains(line, want[i]) || strings.HasSuffix(want[i], "power-off") && !strings.HasSuffix(line, "power-off") {
				t.Errorf("verbose=%v: line %d is\n  %s\nwant\n  %s", verbose, i, line, want[i])
			}
		}
	}
}

// TestUnplugKeepsManagement: what a DIMM knows of itself goes with it, be it
// taken out by its name, and into another machine.
func TestUnplugKeepsManagement(t *testing.T) {
	src := `
def test_x(t):
    vm = t.vm(slots = 2, maxmem = "1GiB", ars = True)
    disk = t.backend_ram(size = "32MiB")
    dimm = vm.plug(backend = disk, id = "worn", family = "intel")
    dimm.health(spares = 7)
    dimm.poison(4096)
    check.fails(lambda: vm.unplug("won"), 'neither an nvdimm nor a memory device "won" is plugged')
    vm.unplug("worn")
    check.eq(vm.nvdimms, [])
    other = t.vm(slots = 2, maxmem = "1GiB", ars = True)
    again = other.plug(backend = disk, family = "intel")
    check.eq((again.health().spares, [p.offset for p in again.poisoned]), (7, [4096]))
    other.unplug(again)
    check.eq(other.plug(backend = disk, family = "msft").health().spares, 100, msg = "of another family it is another DIMM")
`
	file, l := scenario(t, src)
	if o := file.Tests[0].Run(t.Context(), Env{Lab: l, Watcher: &recorder{t: t}}); o.Status != Passed {
		t.Fatalf("outcome is %+v", o)
	}
}
