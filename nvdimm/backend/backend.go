package backend

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"nvlab/internal/cow"
	"nvlab/nvdimm/label"
)

// Backend is the storage of one DIMM: QEMU's memory-backend-file or
// memory-backend-ram. Its bytes are what the guest sees while a [Mapping] of
// it is open, and the file's otherwise; anonymous memory reads as zeros, or as
// what was written to it, until then. Offsets are in bytes from its start.
//
// Methods may be called from any goroutine.
type Backend struct {
	options
	store      store
	durability Durability

	mu        sync.Mutex
	mappings  []*Mapping // those that are open; more than one of shared ones only
	labelSize uint64     // as last plugged
	plugged   bool
	closed    bool
	overlaid  *cow.Memory // the next private overlay; nil for one that is the store's
}

// options are what a backend was opened as. A fork has the same.
type options struct {
	path     string      // "" of anonymous memory
	file     os.FileInfo // as it was opened; nil of anonymous memory
	offset   uint64      // of the backend within the file
	size     int64
	align    uint64
	share    bool
	kind     kind
	readOnly bool
	warning  string
}

// kind is the form of a backend's memory.
type kind int

const (
	shared    kind = iota // the file's own pages
	private               // an overlay of the file
	anonymous             // no file that anybody else can reach
)

// Path is the file's path as given, "" of anonymous memory.
func (b *Backend) Path() string { return b.path }

// Size in bytes, label area included.
func (b *Backend) Size() uint64 { return uint64(b.size) }

// Share is the option of that name: whether guest writes reach the file.
func (b *Backend) Share() bool { return b.share }

// ReadOnly says that neither guest nor host can write it.
func (b *Backend) ReadOnly() bool { return b.readOnly }

// Align is the alignment of the DIMM's address and size, in bytes.
func (b *Backend) Align() uint64 { return b.align }

// Revocable says whether another process can take the memory away, by
// truncating the file.
func (b *Backend) Revocable() bool { return b.place() == nil }

// Durability is what this backend can guarantee for guest writes.
func (b *Backend) Durability() Durability { return b.durability }

// Warning is what the user ought to know of how the backend was opened, "" if
// there is nothing.
func (b *Backend) Warning() string { return b.warning }

// String is how messages name the backend.
func (b *Backend) String() string {
	if b.kind == anonymous {
		return "memory-backend-ram"
	}
	return b.path
}

func (b *Backend) check(off, length uint64) error {
	if b.closed {
		return fmt.Errorf("%s: the backend is closed", b)
	}
	if size := b.Size(); off > size || length > size-off {
		return fmt.Errorf("%s: offset %#x with length %#x is outside of the backend, which has %#x bytes", b, off, length, b.size)
	}
	return nil
}

// ReadAt reads all of p or fails. A backend whose file was truncated by
// someone fails where its bytes are gone.
func (b *Backend) ReadAt(p []byte, off int64) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.check(uint64(off), uint64(len(p))); err != nil {
		return 0, err
	}
	return len(p), b.read(p, off)
}

func (b *Backend) read(p []byte, off int64) error {
	if m := b.overlay(); m != nil {
		return b.lost(guardedCopy(p, m.mem[off:]))
	}
	_, err := b.store.ReadAt(p, off)
	if errors.Is(err, io.EOF) {
		return b.lost(err)
	}
	return err
}

// ErrTruncated is in every error that says that bytes of a file are gone.
var ErrTruncated = errors.New("backing store was truncated")

// ErrUnreachable is in every error that says that a file of the right size
// cannot be read or written.
var ErrUnreachable = errors.New("backing store cannot be reached")

// Lost explains err, the failure of an access to a mapping's memory: it wraps
// err, and ErrTruncated or ErrUnreachable.
func (b *Backend) Lost(err error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.lost(err)
}

func (b *Backend) lost(err error) error {
	if err == nil {
		return nil
	}
	if b.kind == anonymous || b.closed {
		return fmt.Errorf("%s: %w: %w", b, ErrUnreachable, err)
	}
	have, statErr := b.store.size()
	if statErr != nil {
		return errors.Join(statErr, err)
	}
	if have >= b.size {
		return fmt.Errorf("%s: %w, %s: %w", b, ErrUnreachable, b.disk(), err)
	}
	return fmt.Errorf("%s: %w to %#x of %#x bytes by someone else (%w)", b, ErrTruncated, have, b.size, err)
}

// disk says what of the file's disk keeps a page from being read or written.
func (b *Backend) disk() string {
	if f, ok := b.store.(fileStore); ok {
		if free, ok := freeSpace(f.File); ok && free < PageSize {
			return fmt.Sprintf("its file system is full: %d bytes are free, and a page of %d needs room", free, PageSize)
		}
	}
	return "its disk is broken, or was full for a while"
}

// WriteAt writes to the storage of a backend that no running VM maps.
func (b *Backend) WriteAt(p []byte, off int64) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.check(uint64(off), uint64(len(p))); err != nil {
		return 0, err
	}
	if b.readOnly {
		return 0, fmt.Errorf("%s: the backend is read-only", b)
	}
	if err := b.unmapped("before writing"); err != nil {
		return 0, err
	}
	if err := b.intact(); err != nil {
		return 0, err
	}
	return b.store.WriteAt(p, off)
}

// intact fails if the file no longer has its size: writing would extend it.
func (b *Backend) intact() error {
	have, err := b.store.size()
	if err != nil {
		return err
	}
	if have < b.size {
		return b.lost(io.ErrUnexpectedEOF)
	}
	return nil
}

// Put writes to what the guest sees, on behalf of its firmware, and returns
// when the bytes are on the medium, as far as Durability goes.
func (b *Backend) Put(p []byte, off int64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.check(uint64(off), uint64(len(p))); err != nil {
		return err
	}
	if len(b.mappings) > 0 {
		return b.mappings[0].put(p, off)
	}
	if err := b.intact(); err != nil {
		return err
	}
	if _, err := b.store.WriteAt(p, off); err != nil || b.durability == DeviceDAX {
		return err
	}
	return b.sync()
}

// Sync returns when all that reached the file so far is on its medium.
func (b *Backend) Sync() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil
	}
	return b.sync()
}

func (b *Backend) sync() error {
	if b.kind == anonymous || b.readOnly || b.overlay() != nil {
		return nil
	}
	return b.store.sync()
}

// SHA256 hashes a range. The end of ctx ends it.
func (b *Backend) SHA256(ctx context.Context, off, length uint64) ([sha256.Size]byte, error) {
	var sum [sha256.Size]byte
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.check(off, length); err != nil {
		return sum, err
	}
	h := sha256.New()
	at, end := int64(off), int64(off+length)
	zeros := func(to int64) {
		for at < to && ctx.Err() == nil {
			n := min(to-at, int64(len(zeroChunk)))
			h.Write(zeroChunk[:n])
			at += n
		}
	}
	err := b.walk(ctx, at, end, func(off int64, p []byte) {
		zeros(off)
		h.Write(p)
		at += int64(len(p))
	})
	if err != nil {
		return sum, err
	}
	if zeros(end); ctx.Err() != nil {
		return sum, context.Cause(ctx)
	}
	return [sha256.Size]byte(h.Sum(nil)), nil
}

// SetLabelSize notes the size of the label area, in bytes, of the DIMM that
// the backend is plugged as.
func (b *Backend) SetLabelSize(labelSize uint64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.check(0, 0); err != nil {
		return err
	}
	b.labelSize, b.plugged = labelSize, true
	return nil
}

// LabelSize is the size of the label area that the backend was last plugged
// with, and whether it was plugged at all.
func (b *Backend) LabelSize() (uint64, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.labelSize, b.plugged
}

// Labels parses the label area, the last labelSize bytes. A labelSize of 0
// stands for the size the backend was last plugged with.
func (b *Backend) Labels(labelSize uint64) (*label.Area, error) {
	if labelSize == 0 {
		size, plugged := b.LabelSize()
		switch {
		case !plugged:
			return nil, fmt.Errorf("%s: the size of its label area is not known until it is plugged: give label_size", b)
		case size == 0:
			return nil, fmt.Errorf("%s: it was plugged without a label area: give label_size to read one", b)
		}
		labelSize = size
	}
	if labelSize > b.Size() {
		return nil, fmt.Errorf("%s: label_size %#x is not within the backend, which has %#x bytes", b, labelSize, b.size)
	}
	area := make([]byte, labelSize)
	if _, err := b.ReadAt(area, int64(b.Size()-labelSize)); err != nil {
		return nil, err
	}
	return label.Parse(area), nil
}

// Close gives the file up. A backend that a VM maps cannot be closed.
func (b *Backend) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil
	}
	if err := b.unmapped("before closing"); err != nil {
		return err
	}
	b.closed = true
	b.dropOverlaid()
	return b.store.Close()
}
