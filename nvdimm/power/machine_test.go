package power

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"nvlab/nvdimm"
	"nvlab/nvdimm/backend"
	"nvlab/nvdimm/label"
	"nvlab/vmm/observe"
)

// A machine is what a tracker needs of one, and no more.
type machine struct {
	t       testing.TB
	root    *nvdimm.Root
	tracker *Tracker
	mailbox *nvdimm.Mailbox
	page    mailboxPage
	blind   error // its engine shows no single stores

	stopped int
	lost    error
	seq     uint64
	seed    uint64 // of what is random
}

func (m *machine) Attention()           { m.stopped++ }
func (m *machine) Instructions() uint64 { return m.seq }
func (m *machine) Seed() uint64         { return m.seed }
func (m *machine) Lost(err error)       { m.lost = err }

// mailboxAt is where the page is in the guest.
const mailboxAt = 1 << 12

type mailboxPage [backend.PageSize]byte

func (p *mailboxPage) ReadAt(b []byte, _ int64) (int, error)  { return copy(b, p[:]), nil }
func (p *mailboxPage) WriteAt(b []byte, _ int64) (int, error) { return copy(p[:], b), nil }

var errBlind = errors.New("the engine shows no single stores")

func newMachine(t *testing.T, c nvdimm.Config) *machine {
	t.Helper()
	c.Enabled, c.Memory, c.Slots, c.MaxMem, c.Base = true, 1<<28, 4, 1<<32, 1<<32
	root, err := nvdimm.NewRoot(c)
	if err != nil {
		t.Fatal(err)
	}
	m := &machine{t: t, root: root, seed: 7}
	m.tracker = New(root, m)
	m.mailbox = root.Mailbox(&m.page, mailboxAt)
	t.Cleanup(func() {
		for _, d := range root.DIMMs() {
			d.Unmap()
		}
	})
	return m
}

// plug plugs a DIMM, into a machine that is off.
func (m *machine) plug(c backend.FileConfig, labelSize uint64) *nvdimm.DIMM {
	m.t.Helper()
	c.Share, c.Partial = true, true
	b, err := backend.OpenFile(c)
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { b.Close() })
	d, err := m.root.Plug(nvdimm.PlugConfig{Backend: b, LabelSize: labelSize})
	if err != nil {
		m.t.Fatal(err)
	}
	return d
}

// plugNew plugs a DIMM on a file of its own, of two pages and a label area.
func (m *machine) plugNew() *nvdimm.DIMM {
	m.t.Helper()
	return m.plug(backend.FileConfig{Path: filepath.Join(m.t.TempDir(), "f"), Size: 2*backend.PageSize + label.MinSize}, label.MinSize)
}

func (m *machine) attach(observe.Observer) error { return m.blind }

func (m *machine) powerOn() {
	m.t.Helper()
	m.tracker.PowerOn(m.attach)
	for _, d := range m.root.DIMMs() {
		if err := m.tracker.Add(d); err != nil {
			m.t.Fatal(err)
		}
	}
}

// powerOff is clean, or comes after a failure.
func (m *machine) powerOff() {
	m.tracker.PowerOff()
	for _, d := range m.root.DIMMs() {
		d.Unmap()
	}
}

// store stores a byte, as the processors do: the observer first.
func (m *machine) store(d *nvdimm.DIMM, at uint64, v byte) {
	m.seq++
	if m.blind == nil {
		m.tracker.Store(&observe.Store{Base: d.Addr(), Offset: at, Size: 1, Value: uint64(v), Group: m.seq})
	}
	mem, err := d.Map()
	if err != nil {
		m.t.Fatal(err)
	}
	mem[at] = v
}

// persist makes the line at an offset durable.
func (m *machine) persist(d *nvdimm.DIMM, at uint64) {
	m.seq++
	m.tracker.Flush(&observe.Flush{Base: d.Addr(), Offset: at &^ 63, Op: observe.CLWB})
	m.tracker.Fence(&observe.Fence{Order: observe.SFENCE})
}

// hint stores to a DIMM's flush hint, if it has one.
func (m *machine) hint(d *nvdimm.DIMM) {
	if h := m.root.Hints(); h != nil {
		h.Write(uint64(d.Slot())*backend.PageSize, 8, 0)
	}
}

// call makes a call to a DIMM's firmware and returns its status.
func (m *machine) call(handle, function uint32, argument []byte) uint32 {
	p := binary.LittleEndian.AppendUint32(nil, handle)
	p = binary.LittleEndian.AppendUint32(p, 1)
	p = binary.LittleEndian.AppendUint32(p, function)
	clear(m.page[:])
	copy(m.page[:], append(p, argument...))
	m.mailbox.Out(nvdimm.MailboxPort, 4, mailboxAt)
	return binary.LittleEndian.Uint32(m.page[4:])
}

// writeLabel writes to a DIMM's label area and returns the call's status.
func (m *machine) writeLabel(d *nvdimm.DIMM, at uint32, data string) uint32 {
	p := binary.LittleEndian.AppendUint32(nil, at)
	p = binary.LittleEndian.AppendUint32(p, uint32(len(data)))
	return m.call(d.Handle(), nvdimm.FuncSetLabel, append(p, data...))
}

// contents are what a DIMM's file holds.
func contents(t *testing.T, d *nvdimm.DIMM) []byte {
	t.Helper()
	p, err := os.ReadFile(d.Backend().Path())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// labelAt is where a DIMM's label area is in its file.
func labelAt(d *nvdimm.DIMM) uint64 { return d.Backend().Size() - d.LabelSize() }
