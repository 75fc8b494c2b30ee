package run

import (
	"bytes"
	"context"
	"errors"
	"hash/maphash"
	"io"
	"os"
	"runtime"
	"slices"
	"syscall"
)

// A span is a range of a file, its end excluded.
type span struct{ start, end int64 }

func total(list []span) (n int64) {
	for _, s := range list {
		n += s.end - s.start
	}
	return n
}

// data lists the parts of a file that are no holes, as far as the host knows.
func data(f *os.File) ([]span, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	const seekData, seekHole = 3, 4 // lseek(2)
	size := info.Size()
	if runtime.GOOS != "linux" {
		return []span{{0, size}}, nil
	}
	var list []span
	for at := int64(0); at < size; {
		start, err := f.Seek(at, seekData)
		if errors.Is(err, syscall.ENXIO) { // no more of it
			break
		}
		if err != nil {
			return []span{{0, size}}, nil // a file system that does not know
		}
		end, err := f.Seek(start, seekHole)
		if err != nil {
			return nil, err
		}
		list = append(list, span{start, min(end, size)})
		at = end
	}
	return list, nil
}

func dataOf(path string) ([]span, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return data(f)
}

// chunk is how much of a file is read, compared and written at once.
const chunk = 64 << 10

// chunks reads the chunks of a file's data, in their order, until visit says
// that it is enough. Each is whole, but for the file's last; a chunk is valid
// during its visit.
func chunks(ctx context.Context, f *os.File, list []span, visit func(at int64, p []byte) (more bool, err error)) error {
	buffer, next := make([]byte, chunk), int64(0)
	for _, s := range list {
		for at := max(s.start/chunk*chunk, next); at < s.end; at += chunk {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			n, err := f.ReadAt(buffer, at)
			if err != nil && err != io.EOF {
				return err
			}
			if more, err := visit(at, buffer[:n]); err != nil || !more {
				return err
			}
			next = at + chunk
		}
	}
	return nil
}

var zeros [chunk]byte

// copySparse copies a file's data, without zeros, into a new file of its size.
// It copies at most room bytes, and says how many are left out, of what.
func copySparse(ctx context.Context, from, to string, room int64, what string) (used int64, err error) {
	in, err := os.Open(from)
	if err != nil {
		return 0, err
	}
	defer in.Close()
	list, err := data(in)
	if err != nil {
		return 0, err
	}
	return copyChunks(ctx, in, list, to, room, what, func(at int64, p []byte) bool { return !bytes.Equal(p, zeros[:len(p)]) })
}

// copyChunks copies the chunks that are wanted.
func copyChunks(ctx context.Context, in *os.File, list []span, to string, room int64, what string, wanted func(at int64, p []byte) bool) (used int64, err error) {
	info, err := in.Stat()
	if err != nil {
		return 0, err
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if err := out.Truncate(info.Size()); err != nil {
		return 0, err
	}
	left, seen := total(list), int64(0)
	err = chunks(ctx, in, list, func(at int64, p []byte) (bool, error) {
		if wanted(at, p) {
			if used+int64(len(p)) > room {
				return false, &leftOutError{in.Name(), max(left-seen, 1), what}
			}
			if _, err := out.WriteAt(p, at); err != nil {
				return false, err
			}
			used += int64(len(p))
		}
		seen += int64(len(p))
		return true, nil
	})
	return used, err
}

// A fingerprint is what a file of somebody else's held before a test.
type fingerprint struct {
	seed maphash.Seed
	sums map[int64]uint64 // of the chunks that are not zero, by offset
}

// fingerprintLimit is how much data a file may have for that to be known: it
// is read once a test, some 0.2 s of work.
const fingerprintLimit = 1 << 30

// fingerprintOf reads a file; nil if it has too much data.
func fingerprintOf(ctx context.Context, path string) (*fingerprint, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	list, err := data(f)
	if err != nil {
		return nil, err
	}
	p := &fingerprint{seed: maphash.MakeSeed()}
	if total(list) > fingerprintLimit {
		return p, nil
	}
	p.sums = make(map[int64]uint64)
	return p, chunks(ctx, f, list, func(at int64, data []byte) (bool, error) {
		if !bytes.Equal(data, zeros[:len(data)]) {
			p.sums[at] = maphash.Bytes(p.seed, data)
		}
		return true, nil
	})
}

// copyChanges copies the chunks of a file that are others than before, into a
// new file of its size.
func (p *fingerprint) copyChanges(ctx context.Context, from, to string, room int64) (int64, error) {
	in, err := os.Open(from)
	if err != nil {
		return 0, err
	}
	defer in.Close()
	list, err := data(in)
	if err != nil {
		return 0, err
	}
	if p.sums == nil {
		return 0, &leftOutError{from, total(list), "what it holds (too much to tell what the test changed)"}
	}
	for at := range p.sums { // what became a hole is a change as well
		list = append(list, span{at, at + chunk})
	}
	slices.SortFunc(list, func(a, b span) int { return int(min(max(a.start-b.start, -1), 1)) })
	return copyChunks(ctx, in, list, to, room, "what the test changed", func(at int64, data []byte) bool {
		sum, had := p.sums[at]
		if bytes.Equal(data, zeros[:len(data)]) {
			return had
		}
		return !had || maphash.Bytes(p.seed, data) != sum
	})
}
