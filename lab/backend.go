package lab

import (
	"encoding/hex"
	"fmt"
	"os"

	"nvlab/nvdimm/backend"
	"nvlab/nvdimm/label"
)

// A Backend is the storage of a DIMM, in an experiment. After the experiment
// its methods that can fail return ErrClosed.
type Backend struct {
	*backend.Backend
	x      *Experiment
	real   string // path of the file, without symbolic links; "" of memory
	offset uint64 // of the backend within it
}

// Kind is "file" or "ram".
func (b *Backend) Kind() string {
	if b.Path() == "" {
		return "ram"
	}
	return "file"
}

// maxBytes is how much of a backend is read at once.
const maxBytes = 1 << 30

// Bytes reads what the guest sees while a VM runs, the file's content
// otherwise.
func (b *Backend) Bytes(offset, length uint64) ([]byte, error) {
	if b.x.closed {
		return nil, ErrClosed
	}
	if size := b.Size(); offset > size || length > size-offset {
		return nil, fmt.Errorf("offset %#x with length %#x is outside of the backend, which has %#x bytes", offset, length, size)
	}
	if length > maxBytes {
		return nil, fmt.Errorf("length=%d: at most %d bytes at once: sha256() and diff() take any number", length, maxBytes)
	}
	p := make([]byte, length)
	_, err := b.ReadAt(p, int64(offset))
	return p, err
}

// Write changes the storage of a backend that no running VM maps.
func (b *Backend) Write(offset uint64, data []byte) error {
	if b.x.closed {
		return ErrClosed
	}
	if size := b.Size(); offset > size || uint64(len(data)) > size-offset {
		return fmt.Errorf("offset %#x with length %#x is outside of the backend, which has %#x bytes", offset, len(data), size)
	}
	for _, other := range b.x.backends {
		if other != b && other.Mapped() && sameFile(b, other) {
			return fmt.Errorf("%s: a running VM maps the same file: power it off before writing", b)
		}
	}
	_, err := b.WriteAt(data, int64(offset))
	return err
}

func sameFile(a, b *Backend) bool {
	infoA, errA := os.Stat(a.Path())
	infoB, errB := os.Stat(b.Path())
	return errA == nil && errB == nil && os.SameFile(infoA, infoB)
}

// SHA256 hashes a range, up to the end if length is nil, and gives it in hex.
func (b *Backend) SHA256(offset uint64, length *uint64) (string, error) {
	if b.x.closed {
		return "", ErrClosed
	}
	n := b.Size() - min(offset, b.Size())
	if length != nil {
		n = *length
	}
	sum, err := b.Backend.SHA256(offset, n)
	return hex.EncodeToString(sum[:]), err
}

// What a backend held at a moment, and where it differs from that.
type (
	Snapshot = backend.Snapshot
	Change   = backend.Change
)

// Snapshot copies what the backend holds now.
func (b *Backend) Snapshot() (*Snapshot, error) {
	if b.x.closed {
		return nil, ErrClosed
	}
	return b.Backend.Snapshot()
}

// Diff lists where the backend differs from a snapshot of it.
func (b *Backend) Diff(s *Snapshot) ([]Change, error) {
	if b.x.closed {
		return nil, ErrClosed
	}
	return b.Backend.Diff(s)
}

// Labels parses the label area, of the size it was plugged with if labelSize
// is 0.
func (b *Backend) Labels(labelSize uint64) (*label.Area, error) {
	if b.x.closed {
		return nil, ErrClosed
	}
	return b.Backend.Labels(labelSize)
}
