package states

import (
	"cmp"
	"fmt"
	"hash/crc32"
	"os"
	"runtime"
	"sync"

	"nvlab/internal/pages"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// pageSum is a page's checksum.
func pageSum(p []byte) uint32 { return crc32.Checksum(p, castagnoli) }

// checkPages holds pages to their checksums.
func checkPages(p []byte, sums []uint32) error {
	for i, want := range sums {
		if pageSum(p[i*pages.Size:][:pages.Size]) != want {
			return fmt.Errorf("%w: the checksum of a page is another", ErrDamaged)
		}
	}
	return nil
}

// piece is how many pages are read at a time: as much as a cache has room for.
const piece = 64

// A span is pages of a run that are checked at a time.
type span struct {
	first uint64
	sums  []uint32
}

// check reads a root's pages, on as many processors as there are.
func (m *indexed) check(f *os.File) error {
	var spans []span
	sums := m.sums
	for _, r := range m.runs {
		for at := uint64(0); at < r.n; at += piece {
			n := min(piece, r.n-at)
			spans = append(spans, span{r.first + at, sums[:n]})
			sums = sums[n:]
		}
	}
	return share(len(spans), func(from, to int) error { return m.checkSpans(f, spans[from:to]) })
}

// share splits n pieces of work between as many processors as there are, at most
// four.
func share(n int, do func(from, to int) error) error {
	workers := min(runtime.GOMAXPROCS(0), 4, n)
	errs := make([]error, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() { errs[w] = do(n*w/workers, n*(w+1)/workers) })
	}
	wg.Wait()
	return cmp.Or(errs...)
}

func (m *indexed) checkSpans(f *os.File, spans []span) error {
	buf := make([]byte, piece*pages.Size)
	for _, s := range spans {
		p := buf[:len(s.sums)*pages.Size]
		if _, err := f.ReadAt(p, int64(m.at+s.first*pages.Size)); err != nil {
			return fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		if err := checkPages(p, s.sums); err != nil {
			return err
		}
	}
	return nil
}
