package lab

import (
	"context"
	"encoding/hex"
	"fmt"

	"nvlab/nvdimm/backend"
	"nvlab/nvdimm/label"
)

// A Backend is the storage of a DIMM, in an experiment. After the experiment
// its methods that can fail return ErrClosed.
type Backend struct {
	b      *backend.Backend
	x      *Experiment
	real   string                 // path of the file, without symbolic links; "" of memory
	offset uint64                 // of the backend within it
	reads  func(offset, n uint64) // of an exploration: told of what the host looks at; nil if nobody asks
	vm     *VM                    // the fork that it was made for; nil if it was opened

	unplugged *unplugged // nil of a backend whose DIMM was never taken out
	contended bool       // when it was opened, another process wrote the file as well
}

// Path is the file's path as given, "" of memory.
func (b *Backend) Path() string { return b.b.Path() }

// Size in bytes, label area included.
func (b *Backend) Size() uint64 { return b.b.Size() }

// Share says whether guest writes reach the file.
func (b *Backend) Share() bool { return b.b.Share() }

// ReadOnly says that neither guest nor host can write it.
func (b *Backend) ReadOnly() bool { return b.b.ReadOnly() }

// Align is the alignment of a DIMM's address and size on it, in bytes.
func (b *Backend) Align() uint64 { return b.b.Align() }

// Durability is what the backend can guarantee for guest writes.
func (b *Backend) Durability() backend.Durability { return b.b.Durability() }

// Warning is what the user ought to know of how the backend was opened, "" if
// there is nothing.
func (b *Backend) Warning() string { return b.b.Warning() }

// Mapped says whether a running VM has it plugged.
func (b *Backend) Mapped() bool { return b.b.Mapped() }

// Copied says that the backend no longer is its file: a crash state was
// applied.
func (b *Backend) Copied() bool { return b.b.Copied() }

// String is how messages name the backend.
func (b *Backend) String() string { return b.b.String() }

// What names the structure at an offset, such as "label[3]" or "data".
func (b *Backend) What(off uint64) string { return b.b.What(off) }

// Save writes what the backend holds to a new file. The end of ctx ends it.
func (b *Backend) Save(ctx context.Context, path string) error {
	if b.x.closed {
		return ErrClosed
	}
	b.looks(0, b.Size())
	return b.b.Save(ctx, path)
}

// ReadAt reads what the guest sees while a VM runs, the file's content
// otherwise: all of p or an error.
func (b *Backend) ReadAt(p []byte, off int64) (int, error) {
	if b.x.closed {
		return 0, ErrClosed
	}
	b.looks(uint64(off), uint64(len(p)))
	return b.b.ReadAt(p, off)
}

// looks tells an exploration that the host looks at bytes.
func (b *Backend) looks(offset, n uint64) {
	if b.reads != nil {
		b.reads(offset, n)
	}
}

// Restore makes the backend what it was at a snapshot of it, or part of it if
// ctx ends before. No VM maps it.
func (b *Backend) Restore(ctx context.Context, s *Snapshot) error {
	if b.x.closed {
		return ErrClosed
	}
	return b.b.Restore(ctx, s)
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
		return nil, fmt.Errorf("length=%d: at most %d bytes at once: a hash or a difference takes any number", length, maxBytes)
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
		if other != b && other.Mapped() && b.b.SameStorage(other.b) {
			return fmt.Errorf("%s: a running VM maps the same file: power it off before writing", b)
		}
	}
	_, err := b.b.WriteAt(data, int64(offset))
	return err
}

// SHA256 hashes a range, up to the end if length is nil, and gives it in hex.
// The end of ctx ends it.
func (b *Backend) SHA256(ctx context.Context, offset uint64, length *uint64) (string, error) {
	if b.x.closed {
		return "", ErrClosed
	}
	n := b.Size() - min(offset, b.Size())
	if length != nil {
		n = *length
	}
	b.looks(offset, n)
	sum, err := b.b.SHA256(ctx, offset, n)
	return hex.EncodeToString(sum[:]), err
}

// What a backend held at a moment, and where it differs from that.
type (
	Snapshot = backend.Snapshot
	Change   = backend.Change
)

// Snapshot copies what the backend holds now. The end of ctx ends it.
func (b *Backend) Snapshot(ctx context.Context) (*Snapshot, error) {
	if b.x.closed {
		return nil, ErrClosed
	}
	b.looks(0, b.Size())
	return b.b.Snapshot(ctx)
}

// Diff lists where the backend differs from a snapshot of it. The end of
// ctx ends it.
func (b *Backend) Diff(ctx context.Context, s *Snapshot) ([]Change, error) {
	if b.x.closed {
		return nil, ErrClosed
	}
	b.looks(0, b.Size())
	return b.b.Diff(ctx, s)
}

// Labels parses the label area, of the size it was plugged with if labelSize
// is 0.
func (b *Backend) Labels(labelSize uint64) (*label.Area, error) {
	if b.x.closed {
		return nil, ErrClosed
	}
	b.looks(0, b.Size())
	return b.b.Labels(labelSize)
}
