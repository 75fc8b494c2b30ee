package cow

import (
	"bytes"
	"errors"
	"testing"

	"nvlab/internal/held"
	"nvlab/internal/pages"
)

// forget closes all spares.
func (l *spareList) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.list {
		s.store.close()
	}
	l.list = nil
}

// TestReusedIsZeros: memory that another one had holds zeros, however that one was
// used, and is another's only once nobody looks at it any more.
func TestReusedIsZeros(t *testing.T) {
	t.Cleanup(spares.forget)
	const size = 64 * pages.Size
	fill := func(m *Memory, from, n uint64, b byte) {
		m.Dirty().AddRange(from*pages.Size, n*pages.Size)
		copy(m.Bytes()[from*pages.Size:], bytes.Repeat([]byte{b}, int(n*pages.Size)))
	}
	var left []*Image
	for _, use := range []struct {
		name string
		with func(m *Memory) error
	}{
		{"closed as it was", func(*Memory) error { return nil }},
		{"frozen", func(m *Memory) error {
			i, err := m.Freeze()
			if err != nil {
				return err
			}
			fill(m, 30, 20, 2)
			return i.Close()
		}},
		{"frozen, compared and forked", func(m *Memory) error {
			i, err := m.Freeze()
			if err != nil {
				return err
			}
			f, err := i.Fork()
			if err != nil {
				return err
			}
			fill(f, 0, 64, 3)
			j, err := f.Freeze()
			if err != nil {
				return err
			}
			if err := j.Differing(i, func(Page) error { return nil }); err != nil {
				return err
			}
			if b := m.Bytes()[60*pages.Size]; b != 0 {
				t.Errorf("a page that only a fork stored to holds %d", b)
			}
			return errors.Join(CloseAll([]*Image{i, j}), f.Close())
		}},
		{"kept by an image", func(m *Memory) error {
			i, err := m.Freeze()
			left = append(left, i)
			return err
		}},
		{"all of it", func(m *Memory) error { fill(m, 0, 64, 4); return nil }},
		{"none of it", func(m *Memory) error { clear(m.Bytes()); return nil }},
	} {
		m, err := NewReused(size)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(m.Bytes(), make([]byte, size)) {
			t.Fatalf("new memory holds something else than zeros, before the one that is %s", use.name)
		}
		fill(m, 3, 40, 1)
		if err := use.with(m); err != nil {
			t.Fatalf("%s: %v", use.name, err)
		}
		if err := m.Close(); err != nil {
			t.Fatalf("%s: %v", use.name, err)
		}
	}
	want := append(append(make([]byte, 3*pages.Size), bytes.Repeat([]byte{1}, 40*pages.Size)...), make([]byte, 21*pages.Size)...)
	for _, i := range left {
		got := make([]byte, size)
		if _, err := i.ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
			t.Errorf("an image holds something else than its memory did, which was closed before others were made (%v)", err)
		}
		i.Close()
	}
}

// TestSparesAreBounded: what is kept for others is no more than two memories for
// each processor, and none that is large.
func TestSparesAreBounded(t *testing.T) {
	spares.forget()
	t.Cleanup(spares.forget)
	before := held.Now(t)
	most := mostSpares()
	var list []*Memory
	for n := range most + 3 {
		m, err := NewReused(uint64(n+1) * pages.Size)
		if err != nil {
			t.Fatal(err)
		}
		m.Bytes()[0] = 1
		list = append(list, m)
	}
	for _, m := range list {
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(spares.list); n > most {
		t.Errorf("%d memories are kept for others, want at most %d", n, most)
	}
	spares.forget()
	m, err := NewReused(maxSpare + pages.Size)
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at < len(m.Bytes()); at += pages.Size {
		m.Bytes()[at] = 1
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if n := len(spares.list); n > 0 {
		t.Errorf("memory of which %d MiB were used is kept for others, want at most %d", maxSpare>>20, maxSpare>>20)
	}
	before.NoMore(t, "memories that were closed, and spares that were forgotten")
}
