package lab

import (
	"os"
	"path/filepath"
	"testing"

	"nvlab/nvdimm/backend"
	"nvlab/nvdimm/persist"
	"nvlab/vmm/observe"
)

// TestSharedRange plugs three NVDIMMs on overlapping parts of one file, by two
// names, into a VM. A byte of the file is durable when it was made so through
// any of them, whoever stored to it.
func TestSharedRange(t *testing.T) {
	const page = backend.PageSize
	for range 8 { // the order of media has no say
		x := newExperiment(t)
		if err := os.WriteFile(filepath.Join(x.dir, "pmem.img"), make([]byte, 4*page), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Link(filepath.Join(x.dir, "pmem.img"), filepath.Join(x.dir, "again.img")); err != nil {
			t.Fatal(err)
		}
		var o VMOptions
		o.Slots, o.MaxMem = 3, 1<<30
		v, err := x.VM(o)
		if err != nil {
			t.Fatal(err)
		}
		p := &v.power
		p.v, p.model, p.media = v, persist.NewModel(persist.Config{}), map[*NVDIMM]*persist.Medium{}
		var mems [3][]byte
		var dimms [3]*NVDIMM
		for i, f := range []FileBackendOptions{
			{Path: "pmem.img", Offset: page, Size: 2 * page},
			{Path: "again.img", Offset: 0, Size: 2 * page},
			{Path: "pmem.img", Offset: 0, Size: 4 * page},
		} {
			f.Share, f.Partial = true, true
			b, err := x.FileBackend(f)
			if err != nil {
				t.Fatal(err)
			}
			d, err := v.Plug(PlugOptions{Backend: b})
			if err != nil {
				t.Fatal(err)
			}
			mem, err := d.Map()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { d.Unmap() })
			p.add(d, mem, d.Pieces(mem))
			mems[i], dimms[i] = mem, d
		}
		// store stores through DIMM i at an offset of the file.
		starts := [3]uint64{page, 0, 0}
		store := func(i int, at uint64, v byte, flushed bool) {
			base := dimms[i].Pieces(mems[i])[0].Addr
			off := at - starts[i]
			p.Store(&observe.Store{Base: base, Offset: off, Size: 8, Value: uint64(v), Group: uint64(v)})
			mems[i][off] = v
			if flushed {
				p.Flush(&observe.Flush{Base: base, Offset: off, Op: observe.CLWB})
				p.Fence(&observe.Fence{Order: observe.SFENCE})
			}
		}
		store(0, page, 1, false)
		store(1, page, 2, true) // the same byte, by another name
		store(2, 2*page, 3, false)
		store(0, 2*page, 4, true)
		store(1, 64, 5, false)
		store(2, 64, 6, true)
		store(2, 3*page, 7, true)
		store(1, 128, 8, false)
		p.fail(persist.KeepNone)
		p.end()
		file, err := os.ReadFile(filepath.Join(x.dir, "pmem.img"))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []struct{ at, v int }{{page, 2}, {2 * page, 4}, {64, 6}, {3 * page, 7}, {128, 0}} {
			if got := file[want.at]; got != byte(want.v) {
				t.Errorf("after the power cut the file has %d at %#x, want %d", got, want.at, want.v)
			}
		}
	}
}
