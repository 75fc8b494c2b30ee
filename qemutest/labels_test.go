package qemutest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"nvlab/guest"
	"nvlab/nvdimm/label"
	"nvlab/starlark/run"
)

// areas are the label areas that go from one side to the other, each behind
// 64 MiB.
var areas = []struct {
	size    uint64
	version label.Version
	modes   [2]string // of the two namespaces made first
}{
	{128 * kib, label.V11, [2]string{"raw", "sector"}},
	{128 * kib, label.V12, [2]string{"raw", "sector"}},
	{256 * kib, label.V12, [2]string{"raw", "fsdax"}},
	{2 * mib, label.V11, [2]string{"raw", "sector"}},
	{2 * mib, label.V12, [2]string{"raw", "devdax"}},
	{128*kib + 1, label.V12, [2]string{"raw", "sector"}},
	{200000, label.V11, [2]string{"raw", "raw"}},
}

// TestLabelsTravel makes namespaces on one side, changes them on the other,
// and looks at them on the first again, and at the areas in between.
func TestLabelsTravel(t *testing.T) {
	startsMachines(t)
	mustGuest(t)
	for _, way := range [][2]launcher{{onQEMU, onNvlab}, {onNvlab, onQEMU}} {
		t.Run(way[0].name+" first", func(t *testing.T) {
			t.Parallel()
			j := &journey{t: t, name: "labels travel " + way[0].name + " first", dir: t.TempDir()}
			j.visit(way[0], `
				try ndctl disable-region $R; try ndctl init-labels -f -V $V $D; try ndctl enable-region $R
				make 1 -m raw -s 16M -n first; store 1
				make 2 -m $M -s 32M -n second; show`)
			j.check("first", "second")
			j.visit(way[1], `
				show; load 1
				try ndctl check-labels $D
				try ndctl destroy-namespace -f $(named second)
				make 3 -m raw -s 16M -n third; store 3; show`)
			j.check("first", "third")
			j.visit(way[0], `
				show; load 1; load 3
				try ndctl check-labels $D
				make 4 -m sector -s 32M -n fourth`)
			j.check("first", "third", "fourth")
		})
	}
}

// A journey is a set of DIMMs on its way.
type journey struct {
	t      *testing.T
	name   string
	dir    string
	visits int
	shown  [][]string // what the latest visit showed of each DIMM, and in between
}

// helpers are what a visit's script has besides the prelude. V is the version,
// M the mode of the second namespace; the data of namespace N is its UUID.
const helpers = `
V=%v M=%s
named() { ndctl list -N -r $R | tr -d '\n' | sed 's/}/}\n/g' | sed -n "s/.*\"dev\":\"\([^\"]*\)\".*\"name\":\"$1\".*/\1/p"; }
block() { ndctl list -N -r $R -n all | tr -d '\n' | sed 's/}/}\n/g' | sed -n "s/.*\"uuid\":\"$(uuid $1)\".*\"blockdev\":\"\([^\"]*\)\".*/\1/p"; }
store() { uuid $1 | dd of=/dev/$(block $1) bs=4096 count=1 conv=sync,fsync 2>/dev/null || echo "status 1 of store"; }
load() { [ "$(head -c 36 /dev/$(block $1))" = "$(uuid $1)" ] || echo "status 1: namespace $1 lost its data"; }
show() { echo "== show"; ndctl list -N -r $R -v; echo "== end"; }
`

// namespaces are a line for each that ndctl lists, without what a reboot
// changes: their order and their numbers.
func namespaces(list string) (string, error) {
	var objects []json.RawMessage
	if err := json.Unmarshal([]byte(deviceNumber.ReplaceAllString(list, "@")), &objects); err != nil {
		return "", fmt.Errorf("%w in %q", err, list)
	}
	var text strings.Builder
	for _, o := range objects {
		var line bytes.Buffer
		if err := json.Compact(&line, o); err != nil {
			return "", err
		}
		fmt.Fprintf(&text, "%s\n", &line)
	}
	return sortedLines(text.String()), nil
}

// deviceNumber is what a reboot changes of the name of a device.
var deviceNumber = regexp.MustCompile(`@\d+(\.\d+)?`)

// visit switches a machine on, runs the script for each DIMM, powers off, and
// compares what the DIMMs held with what the visit before left.
func (j *journey) visit(l launcher, script string) {
	j.t.Helper()
	var shown [][]string
	observe := func(l launcher, dir string) (f facts, err error) {
		shown, f, err = look(j.t.Context(), l, dir, script)
		return f, err
	}
	observed := func() (facts, error) { return observe(l, j.dir) }
	j.visits++
	if l.name == onQEMU.name {
		observed = fromQEMU(j.t, fmt.Sprintf("%s visit %d", j.name, j.visits), j.dir, observe)
	}
	if _, err := observed(); err != nil {
		j.t.Fatalf("%s: %v", l.name, err)
	}
	if j.shown != nil {
		for i, list := range shown {
			if before := j.shown[i][len(j.shown[i])-1]; list[0] != before || !strings.Contains(before, "namespace@") {
				j.t.Errorf("%s shows of DIMM %d\n%s\nand the other side, before it powered off,\n%s", l.name, i+1, list[0], before)
			}
		}
	}
	j.shown = shown
}

// look is a visit: what it shows of each DIMM, and the facts of that and of
// the files that it leaves.
func look(ctx context.Context, l launcher, dir, script string) (shown [][]string, f facts, err error) {
	o := machine(len(areas), "cpu")
	p := pair{}
	for _, a := range areas {
		p.rows = append(p.rows, configuration{dimm: file(64*mib+(a.size+4*kib-1)/(4*kib)*(4*kib), a.size)})
	}
	for i := range p.rows {
		d := p.dimm(i)
		if l.places {
			p.place(i, &d)
		}
		o.DIMMs = append(o.DIMMs, d)
	}
	s, err := l.start(ctx, o, dir)
	if err != nil {
		return nil, nil, err
	}
	defer s.Close()
	_, handles, _, err := s.Run("cd /sys/bus/nd/devices && grep -H '' nmem*/nfit/handle region*/mapping0")
	if err != nil {
		return nil, nil, err
	}
	n := newNames(handles, handles)
	f = facts{}
	for i, a := range areas {
		_, out, stderr, err := s.Run(fmt.Sprintf(prelude, i+1) + fmt.Sprintf(helpers, a.version, a.modes[1]) + script)
		if err != nil {
			return nil, nil, err
		}
		for line := range strings.Lines(out) {
			if strings.HasPrefix(line, "status ") && line != "status 0\n" {
				return nil, nil, fmt.Errorf("DIMM %d: a command failed:\n%s%s", i+1, out, stderr)
			}
		}
		var list []string
		for k, part := range strings.Split(n.canonical(out), "== show\n")[1:] {
			part, _, _ = strings.Cut(part, "== end\n")
			text, err := namespaces(part)
			if err != nil {
				return nil, nil, err
			}
			list = append(list, text)
			f[fmt.Sprintf("shown@%d/%d", i+1, k)] = text
		}
		shown = append(shown, list)
	}
	if err := s.PowerOff(); err != nil {
		return nil, nil, err
	}
	for i, d := range o.DIMMs {
		if err := f.addImage(d, dir, i+1); err != nil {
			return nil, nil, err
		}
	}
	return shown, f, nil
}

// check decodes the areas: these namespaces, by name, and nothing else.
func (j *journey) check(want ...string) {
	j.t.Helper()
	for i, a := range areas {
		area, err := DIMM{Path: filepath.Join(j.dir, fmt.Sprintf("dimm%d.img", i)), LabelSize: a.size}.labels()
		if err != nil {
			j.t.Fatal(err)
		}
		got := label.Parse(area)
		if got.Version() != a.version || len(got.Errors) > 0 {
			j.t.Errorf("area %d of %d bytes has version %v and errors %q, want %v and none", i, a.size, got.Version(), got.Errors, a.version)
		}
		mapping := label.Mapping{SerialNumber: 0x123456 + uint32(i), VendorID: 0x8086}
		cookie := label.Cookie12(mapping)
		if a.version == label.V11 {
			cookie = label.Cookie11(mapping)
		}
		names := map[string]int{}
		for _, l := range got.Active {
			names[l.Name]++
			if l.ISetCookie != cookie {
				j.t.Errorf("area %d: label %d has cookie %#x, want %#x", i, l.Slot, l.ISetCookie, cookie)
			}
		}
		for _, name := range want {
			if names[name] != 1 {
				j.t.Errorf("area %d of %d bytes, version %v, has %d labels named %q, want 1", i, a.size, a.version, names[name], name)
			}
		}
		if len(got.Active) != len(want) {
			j.t.Errorf("area %d of %d bytes, version %v, has %d active labels, want %d", i, a.size, a.version, len(got.Active), len(want))
		}
	}
}

// TestQuickstartOnABackendOfQEMU does the first half of the quickstart on
// QEMU, and lets the scenario itself do what follows the power-off.
func TestQuickstartOnABackendOfQEMU(t *testing.T) {
	startsMachines(t)
	mustGuest(t)
	dir := t.TempDir()
	backend := filepath.Join(dir, "pmem0.img")
	_, err := fromQEMU(t, "quickstart", dir, func(l launcher, dir string) (facts, error) {
		d := DIMM{ID: "nvdimm1", Path: "pmem0.img", Size: 64 * mib, Share: true, LabelSize: 128 * kib}
		s, err := l.start(t.Context(), Options{Memory: 256 * mib, Slots: 2, MaxMem: 4 << 30, Persistence: "cpu"}.and(d), dir)
		if err != nil {
			return nil, err
		}
		defer s.Close()
		status, stdout, stderr, err := s.Run(`set -e
		ndctl disable-region region0 && ndctl init-labels -f nmem0 && ndctl enable-region region0
		ndctl create-namespace -m raw -r region0 -s 16M -u ` + fixedUUID + `0000-4000-8000-000000000001
		echo durable | dd of=/dev/pmem0 bs=512 count=1 conv=sync oflag=direct`)
		if err != nil || status != 0 {
			return nil, fmt.Errorf("the quickstart's commands end in status %d, %v:\n%s%s", status, err, stdout, stderr)
		}
		f := facts{"stdout": stdout}
		if err := s.PowerOff(); err != nil {
			return nil, err
		}
		return f, f.addImage(d, dir, 1)
	})()
	if err != nil {
		t.Fatalf("QEMU: %v", err)
	}

	quickstart, err := os.ReadFile("../scenarios/quickstart.star")
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(quickstart), "    vm.boot()\n")
	_, checks, ok2 := strings.Cut(rest, "    vm.poweroff()\n")
	head = strings.Replace(head, `"pmem0.img"`, fmt.Sprintf("%q", backend), 1)
	if !ok || !ok2 || !strings.Contains(head, backend) || strings.Count(checks, "check.") < 3 {
		t.Fatal("scenarios/quickstart.star is not what it was: adapt this test")
	}
	scenario := filepath.Join(dir, "quickstart.star")
	if err := os.WriteFile(scenario, []byte(head+checks), 0o644); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	exit := run.Run(t.Context(), run.Options{
		Paths: []string{scenario}, Engine: "soft", AllowPaths: []string{dir}, Stdout: &out, Stderr: &out, Progress: guest.Quiet,
	})
	if exit != 0 {
		t.Errorf("the quickstart's checks on a backend of QEMU's end in status %d:\n%s", exit, out.String())
	}
}
