package lab

import (
	"context"
	"fmt"
)

// useCopy has the experiment go on with a copy of a backend, so that a crash
// state never reaches the file. Other backends on the same part of the file
// see the copy as well.
func (x *Experiment) useCopy(ctx context.Context, b *Backend) error {
	if b.Kind() == "ram" || b.ReadOnly() {
		return nil
	}
	var same []*Backend
	for _, o := range x.backends {
		switch {
		case o == b || !o.overlaps(b):
			continue
		case o.offset != b.offset || o.Size() != b.Size():
			return fmt.Errorf("%s: another backend of this test begins at %#x of the same file and has %#x bytes, and would not see the crash state: give both the same offset and size", b, o.offset, o.Size())
		case o.Mapped():
			return fmt.Errorf("%s: another running VM maps this file: power it off before a crash state is applied", b)
		}
		same = append(same, o)
	}
	for _, o := range same {
		b.b.ShareCopy(o.b)
	}
	if err := b.b.UseCopy(ctx); ctx.Err() != nil {
		return context.Cause(ctx)
	} else if err != nil {
		return &Error{Class: ClassHost, Err: err}
	}
	for _, o := range same {
		o.b.ShareCopy(b.b)
	}
	return nil
}

// spreadCopy has other backends on the same part of a file see the copy that a
// backend has become by a restore.
func (x *Experiment) spreadCopy(b *Backend) {
	for _, o := range x.backends {
		if b.b.Copied() && o != b && o.overlaps(b) && o.offset == b.offset && o.Size() == b.Size() {
			o.b.ShareCopy(b.b)
		}
	}
}

// overlaps says that two backends have bytes of one file in common.
func (b *Backend) overlaps(o *Backend) bool {
	return b.real != "" && b.real == o.real && b.offset < o.offset+o.Size() && o.offset < b.offset+b.Size()
}

// shareCopies has a new backend see the copies that the experiment goes on with.
func (x *Experiment) shareCopies(b *Backend) error {
	for _, o := range x.backends {
		switch {
		case !o.b.Copied() || !o.overlaps(b):
		case o.offset != b.offset || o.Size() != b.Size():
			return fmt.Errorf("%s: a crash state is applied to %#x bytes from %#x of this file: give the same offset and size", b, o.Size(), o.offset)
		default:
			b.b.ShareCopy(o.b)
		}
	}
	return nil
}

// errOn says that a crash state cannot be applied now.
var errOn = &StateError{State: Running, Next: StepCut}
