package cow

import (
	"fmt"
	"testing"
	"time"

	"nvlab/internal/pages"
)

const (
	benchSize    = 256 << 20
	benchTouched = 180 << 20 // as a guest has after its boot
)

// touched returns memory of a guest that booted.
func touched(b *testing.B) *Memory {
	m, err := New(benchSize)
	if err != nil {
		b.Fatal(err)
	}
	for at := 0; at < benchTouched; at += pages.Size {
		m.Bytes()[at] = 1
	}
	return m
}

func frozen(b *testing.B) (*Memory, *Image) {
	m := touched(b)
	i, err := m.Freeze()
	if err != nil {
		b.Fatal(err)
	}
	return m, i
}

// BenchmarkFirstFreeze also says what the memory's next touches cost: a page
// that is stored to is copied, and one that is read is mapped.
func BenchmarkFirstFreeze(b *testing.B) {
	var after float64
	for range b.N {
		b.StopTimer()
		m := touched(b)
		b.StartTimer()
		i, err := m.Freeze()
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		after += readAll(m)
		i.Close()
		m.Close()
		b.StartTimer()
	}
	b.ReportMetric(after/float64(b.N), "ms-to-read-all-after")
}

func BenchmarkFork(b *testing.B) {
	m, i := frozen(b)
	defer m.Close()
	defer i.Close()
	for _, dirty := range []uint64{0, 1000} {
		b.Run(fmt.Sprintf("pages=%d", dirty), func(b *testing.B) {
			dirtyPages(m, dirty, 3)
			of, err := m.Freeze()
			if err != nil {
				b.Fatal(err)
			}
			defer of.Close()
			for b.Loop() {
				f, err := of.Fork()
				if err != nil {
					b.Fatal(err)
				}
				f.Close()
			}
		})
	}
}

func BenchmarkRestore(b *testing.B) {
	m, i := frozen(b)
	defer m.Close()
	defer i.Close()
	for _, dirty := range []uint64{0, 10, 1000} {
		b.Run(fmt.Sprintf("pages=%d", dirty), func(b *testing.B) {
			for b.Loop() {
				dirtyPages(m, dirty, 2)
				list, err := m.Restore(i)
				if err != nil || sum(list) != dirty*pages.Size {
					b.Fatal(list, err)
				}
			}
		})
	}
}

// BenchmarkFreeze is of memory that was frozen before.
func BenchmarkFreeze(b *testing.B) {
	m, i := frozen(b)
	defer m.Close()
	defer i.Close()
	for _, dirty := range []uint64{0, 10, 1000} {
		b.Run(fmt.Sprintf("pages=%d", dirty), func(b *testing.B) {
			v := byte(2)
			for b.Loop() {
				dirtyPages(m, dirty, v)
				v++
				i, err := m.Freeze()
				if err != nil {
					b.Fatal(err)
				}
				i.Close()
			}
		})
	}
}

func BenchmarkHash(b *testing.B) {
	for range b.N {
		b.StopTimer()
		m, i := frozen(b)
		b.StartTimer()
		if _, err := i.Hash(); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		m.Close()
		i.Close()
		b.StartTimer()
	}
}

// dirtyPages changes pages that are spread over the memory.
func dirtyPages(m *Memory, n uint64, v byte) {
	for k := range n {
		page := k * 37 % (benchTouched / pages.Size)
		m.Dirty().Add(page)
		m.Bytes()[page*pages.Size+k%pages.Size] = v
	}
}

// readAll looks at each page that was touched, and returns how many
// milliseconds that took.
func readAll(m *Memory) float64 {
	start := time.Now()
	var x byte
	for at := 0; at < benchTouched; at += pages.Size {
		x += m.Bytes()[at]
	}
	if x != byte(benchTouched/pages.Size%256) {
		panic("other bytes")
	}
	return float64(time.Since(start).Microseconds()) / 1000
}

// BenchmarkDiffering compares images of two machines of which each has its own root.
func BenchmarkDiffering(b *testing.B) {
	m, i := frozen(b)
	defer m.Close()
	defer i.Close()
	o, j := frozen(b)
	defer o.Close()
	defer j.Close()
	for b.Loop() {
		if err := i.Differing(j, func(p Page) error { return fmt.Errorf("page %d differs", p.Number) }); err != nil {
			b.Fatal(err)
		}
	}
}
