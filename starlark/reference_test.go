package nvstar

import (
	"os"
	"strings"
	"testing"

	"go.starlark.net/starlark"

	"nvlab/starlark/guard"
)

// TestDocs holds every attribute to a documentation and a signature that
// parses.
func TestDocs(t *testing.T) {
	seen := make(map[string]bool)
	known := map[string]bool{"bytes": true, "text": true, "list": true, "iterable": true, "struct": true}
	for _, top := range Topics() {
		known[top.Name] = true
	}
	for _, top := range Topics() {
		for _, s := range append([]Topic{top}, top.Subs...) {
			if seen[s.Name] {
				t.Errorf("%s is documented twice", s.Name)
			}
			seen[s.Name] = true
			if !strings.HasSuffix(s.Doc, ".") {
				t.Errorf("the documentation of %s is no sentence: %q", s.Name, s.Doc)
			}
			if s.Sig != "" {
				parseSignature(s.Sig)
			}
			if kind, of := s.Gives(); strings.Contains(s.Doc, arrow) && !known[kind] {
				t.Errorf("the text of %s has an arrow to %q of %q, which is no type", s.Name, kind, of)
			}
		}
	}
	for _, name := range universe().Keys() {
		if starlark.Universe.Has(name) || guard.Hidden(name) {
			continue // Starlark's own, bounded
		}
		if !seen[name] {
			t.Errorf("predeclared %s is not documented", name)
		}
	}
}

// TestContract names all that scenarios rely on.
func TestContract(t *testing.T) {
	for _, name := range strings.Fields(`
		t.backend_file t.backend_ram t.vm t.dir t.name t.log t.skip t.xfail t.needs t.defer t.run
		backend.path backend.size backend.share backend.durability backend.bytes backend.write backend.sha256
		backend.snapshot backend.diff backend.labels
		vm.plug vm.boot vm.run vm.ndctl vm.daxctl vm.read_file vm.write_file vm.wait
		vm.poweroff vm.reboot vm.kill vm.power_cut vm.console vm.dmesg vm.state vm.engine vm.clock
		vm.acpi vm.nfit vm.memory_devices vm.power_cut_on vm.wait_off vm.trace
		vm.regions vm.namespaces vm.dimms vm.init_labels vm.result
		result.exit_code result.signal result.stdout result.stderr result.stdout_bytes result.json
		check.eq check.ne check.true check.false check.lt check.le check.gt check.ge check.contains
		check.not_contains check.matches check.bytes_eq check.fails
		trace.stores trace.flushes trace.fences trace.epochs trace.label_writes trace.ops
		trace.missing_flushes trace.crash_states trace.explore
		state.id state.at state.kept state.lost state.apply
		vm.snapshot vm.restore vm.fork vm.nvdimms vm.nvdimm snapshot.fork snapshot.id
		nvdimm.fail nvdimm.tear nvdimm.flags vm.interleave nvdimm.flush_hint_writes
		struct json KiB MiB GiB TiB`) {
		if text, err := Doc(name); err != nil || !strings.HasPrefix(text, name) {
			t.Errorf("Doc(%q) = %q, %v", name, text, err)
		}
	}
}

func TestDocOfUnknownNames(t *testing.T) {
	for name, want := range map[string]string{
		"vm.pulg":     "did you mean vm.plug?",
		"bakend":      "did you mean backend?",
		"powr_cut":    "did you mean vm.power_cut?",
		"frobnicator": "nvlab doc lists the names",
	} {
		if _, err := Doc(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Doc(%q): error %v, want %q in it", name, err, want)
		}
	}
	if text, err := Doc("plug"); err != nil || !strings.HasPrefix(text, "vm.plug(") {
		t.Errorf("Doc(plug) = %q, %v, want that of vm.plug", text, err)
	}
}

// TestReference compares docs/language.md with what the program says; with
// NVLAB_UPDATE=1 it writes it.
func TestReference(t *testing.T) {
	const path = "../docs/language.md"
	want := Reference()
	if os.Getenv("NVLAB_UPDATE") != "" {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is out of date: run NVLAB_UPDATE=1 go test ./starlark", path)
	}
}
