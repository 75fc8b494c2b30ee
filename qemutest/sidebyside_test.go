package qemutest

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"nvlab/nvdimm/label"
)

// A configuration is one DIMM, or a machine without any, and what is done to
// it.
type configuration struct {
	name   string
	dimm   DIMM
	hot    bool   // plugged once the guest runs
	none   bool   // a machine without this DIMM: what the guest says of none
	script string // see prelude
}

// A pair is a machine that QEMU and nvlab have alike.
type pair struct {
	name    string
	options Options
	rows    []configuration
	packed  bool // QEMU chooses the addresses, too
}

// prelude is what a configuration's script starts with: D is its DIMM, R its
// region, uuid N its Nth identifier.
const prelude = `
H=%d
for d in /sys/bus/nd/devices/nmem*; do read h < $d/nfit/handle; [ $((h)) = $H ] && D=${d##*/}; done
R=$(ndctl list -R -d $D | sed -n 's/.*"dev":"\(region[0-9]*\)".*/\1/p' | head -n 1)
try() { echo "\$ $*"; "$@" 2>&1; echo "status $?"; }
uuid() { printf '` + fixedUUID + `0000-4000-8000-%%06d%%06d' $H $1; }
init() { try ndctl disable-region $R; try ndctl init-labels -V $1 -f $D; try ndctl enable-region $R; }
make() { n=$1; shift; try ndctl create-namespace -r $R -u $(uuid $n) "$@"; }
`

// awaitHotplug waits until the guest knows of %d NVDIMMs and has probed them,
// and of %d blocks of 128 MiB of RAM above 4 GiB.
const awaitHotplug = `
for i in $(seq 200); do [ $(ls -d /sys/bus/nd/devices/region* 2>/dev/null | wc -l) = %d ] && break; sleep 0.05; done
for i in $(seq 200); do [ $(ls -d /sys/devices/system/memory/memory3[2-9] /sys/devices/system/memory/memory[4-9]? 2>/dev/null | wc -l) = %d ] && break; sleep 0.05; done
cat /sys/bus/nd/devices/ndbus0/wait_probe 2>/dev/null
`

// handle is the NFIT device handle of the row's DIMM.
func (p *pair) handle(row int) int {
	if slot := p.rows[row].dimm.Slot; slot != nil {
		return *slot + 1
	}
	return row + 1
}

// TestSideBySide boots QEMU and nvlab with the same kernel, initramfs, DIMMs
// and commands and compares all that the guest can tell, and the label areas.
func TestSideBySide(t *testing.T) {
	startsMachines(t)
	mustGuest(t)
	used := make([]bool, len(expected))
	ran, rows := 0, 0
	for _, p := range pairs {
		t.Run(p.name, func(t *testing.T) {
			p.compare(t, used)
			ran++
			rows += len(p.rows)
		})
	}
	if ran < len(pairs) {
		return // some were left out, by -run or for want of QEMU
	}
	for i, e := range expected {
		if !used[i] {
			t.Errorf("the expected difference %q of %q (%s) was not seen: it is gone, take it out", e.fact, e.pair, e.why)
		}
	}
	if rows < 24 {
		t.Errorf("there are %d configurations, want 24 at least", rows)
	}
}

func (p *pair) compare(t *testing.T, used []bool) {
	type result struct {
		facts facts
		err   error
	}
	observe := func(l launcher, dir string) (facts, error) { return p.observe(t.Context(), l, dir) }
	theirs := fromQEMU(t, p.name, t.TempDir(), observe)
	ours := make(chan result, 1)
	dir := t.TempDir()
	go func() {
		f, err := observe(onNvlab, dir)
		ours <- result{f, err}
	}()
	var qemu result
	qemu.facts, qemu.err = theirs()
	nvlab := <-ours
	if qemu.err != nil || nvlab.err != nil {
		t.Fatalf("QEMU: %v; nvlab: %v", qemu.err, nvlab.err)
	}
	list := differences(qemu.facts, nvlab.facts)
	list = slices.DeleteFunc(list, func(d difference) bool {
		for i, e := range expected {
			if e.matches(p.name, d) {
				used[i] = true
				return true
			}
		}
		return false
	})
	// Each difference is told by the configuration it belongs to.
	for i, row := range p.rows {
		t.Run(row.name, func(t *testing.T) {
			at := regexp.MustCompile(fmt.Sprintf(`@%d\b`, p.handle(i)))
			facts := 0
			for fact := range qemu.facts {
				if at.MatchString(fact) {
					facts++
				}
			}
			if facts < 20 && !row.none && !row.dimm.RAM && !row.dimm.Virtio {
				t.Errorf("the guest on QEMU told %d facts of this DIMM, want at least 20", facts)
			}
			var own []difference
			list = slices.DeleteFunc(list, func(d difference) bool {
				mine := row.none || row.dimm.Virtio || at.MatchString(d.fact)
				if mine {
					own = append(own, d)
				}
				return mine
			})
			tell(t, own)
		})
	}
	tell(t, list)
}

// tell fails a test for differences: one may have many in its train.
func tell(t *testing.T, list []difference) {
	t.Helper()
	const most = 25
	for i, d := range list {
		if i == most && os.Getenv("NVLAB_ALL") == "" {
			t.Errorf("and %d more: NVLAB_ALL=1 shows them", len(list)-most)
			return
		}
		t.Errorf("%s = %q on nvlab, want QEMU's %q", d.fact, d.nvlab, d.qemu)
	}
}

// observe runs a machine from power-on to power-off.
func (p *pair) observe(ctx context.Context, l launcher, dir string) (facts, error) {
	o := p.options
	hot := 0
	for i, row := range p.rows {
		if row.none {
			continue
		}
		d := p.dimm(i)
		if l.places {
			p.place(i, &d)
		}
		if d.ReadOnly {
			if err := os.WriteFile(filepath.Join(dir, d.Path), make([]byte, d.Size), 0o644); err != nil {
				return nil, err
			}
		}
		if row.hot {
			hot++
		} else {
			o.DIMMs = append(o.DIMMs, d)
		}
	}
	s, err := l.start(ctx, o, dir)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	if hot > 0 {
		if err := p.plug(s, l); err != nil {
			return nil, err
		}
	}
	scripts := map[int]string{}
	for i, row := range p.rows {
		if row.script == "" {
			continue
		}
		_, stdout, stderr, err := s.Run(fmt.Sprintf(prelude, p.handle(i)) + row.script)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", row.name, err)
		}
		scripts[i] = stdout + stderr
	}
	f, err := collect(s)
	if err != nil {
		return nil, err
	}
	_, handles, _, err := s.Run("cd /sys/bus/nd/devices && grep -H '' nmem*/nfit/handle region*/mapping0")
	if err != nil {
		return nil, err
	}
	n := newNames(handles, handles)
	for i, text := range scripts {
		f.addScript(p.handle(i), n.canonical(text))
	}
	if err := s.PowerOff(); err != nil {
		return nil, err
	}
	for i := range p.rows {
		if err := f.addLabels(p.dimm(i).in(dir), p.handle(i)); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// plug adds the DIMMs that are hot-plugged, as fast as it can, and waits for
// the guest.
func (p *pair) plug(s side, l launcher) error {
	nvdimms, blocks := 0, uint64(0)
	for i, row := range p.rows {
		switch {
		case row.none:
		case row.dimm.RAM:
			blocks += row.dimm.Size / (128 * mib)
		default:
			nvdimms++
		}
		if row.hot {
			d := p.dimm(i)
			if l.places {
				p.place(i, &d)
			}
			if err := s.Plug(d); err != nil {
				return fmt.Errorf("%s: %w", row.name, err)
			}
		}
	}
	_, _, _, err := s.Run(fmt.Sprintf(awaitHotplug, nvdimms, blocks))
	return err
}

// dimm is the DIMM of a row, with a name and a file of its own.
func (p *pair) dimm(row int) DIMM {
	d := p.rows[row].dimm
	d.ID = fmt.Sprintf("dimm%d", row)
	if d.Path != "" {
		d.Path = d.ID + ".img"
	}
	return d
}

// place gives QEMU's DIMMs the addresses that nvlab's get by themselves: QEMU
// packs DIMMs, and Linux refuses namespaces on those that it finds misaligned.
func (p *pair) place(row int, d *DIMM) {
	if p.packed {
		return
	}
	next := uint64(4 << 30)
	for i := range row + 1 {
		e := p.dimm(i)
		align := max(e.Align, 4*kib)
		if e.RAM {
			align = 2 * mib
		}
		if e.Path == "" {
			align = max(align, 2*mib)
		}
		at := max(align, 16*mib)
		if e.RAM {
			at = 128 * mib
		}
		next = (next + at - 1) / at * at
		switch {
		case e.Addr != 0:
		case i == row:
			d.Addr = next
		default:
			next += (e.Size - e.LabelSize) / align * align
		}
	}
}

// addLabels makes a fact of every 16 bytes of a label area that are not zero.
func (f facts) addLabels(d DIMM, handle int) error {
	if d.Path == "" || d.LabelSize == 0 {
		return nil
	}
	area, err := d.labels()
	if err != nil {
		return err
	}
	parsed := label.Parse(area)
	for at := 0; at < len(area); at += 16 {
		row := area[at:min(at+16, len(area))]
		if strings.Trim(string(row), "\x00") == "" {
			continue
		}
		what, field := parsed.Describe(at)
		f[fmt.Sprintf("labels@%d/%06x, %s %s", handle, at, what, field)] = hex.EncodeToString(row)
	}
	f[fmt.Sprintf("labels@%d/version", handle)] = parsed.Version().String()
	f[fmt.Sprintf("labels@%d/active", handle)] = fmt.Sprint(len(parsed.Active))
	f[fmt.Sprintf("labels@%d/errors", handle)] = strings.Join(parsed.Errors, "; ")
	return nil
}

// labels is the label area of the DIMM's file.
func (d DIMM) labels() ([]byte, error) {
	f, err := os.Open(d.Path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	area := make([]byte, d.LabelSize)
	_, err = f.ReadAt(area, end-int64(d.LabelSize))
	return area, err
}
