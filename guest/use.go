package guest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// usedFile is locked, shared, by each process that uses a guest, and its time is
// that of the latest use.
const usedFile = "used"

// ErrInUse says that a process uses a guest.
var ErrInUse = errors.New("in use")

// hold keeps the guest from being removed while the image is in use, and notes
// when that was. Where that cannot be written nobody can remove the guest. The
// error wraps ErrNoGuest: the guest is being removed.
func (im *Image) hold() error {
	name := filepath.Join(im.dir, usedFile)
	f, err := os.OpenFile(name, os.O_RDONLY|os.O_CREATE, 0o644)
	if err != nil {
		if f, err = os.Open(name); err != nil {
			return nil
		}
	}
	if shareLock(f) != nil {
		f.Close()
		return fmt.Errorf("%w: %s is being removed", ErrNoGuest, im.Name)
	}
	now := time.Now()
	os.Chtimes(name, now, now)
	im.held = f // its lock goes with the descriptor: at Close, or when nothing refers to the image
	return nil
}

// Close says that the guest is not used any more.
func (im *Image) Close() error {
	f := im.held
	if im.held = nil; f == nil {
		return nil
	}
	return f.Close()
}

// claim takes a guest for removal. Closing the file gives it back.
func (im *Image) claim() (*os.File, error) {
	f, err := lockFile(filepath.Join(im.dir, usedFile), false)
	if errors.Is(err, errLocked) {
		return nil, ErrInUse
	}
	return f, err
}

// Used is when the guest was last used.
func (im *Image) Used() time.Time {
	if st, err := os.Stat(filepath.Join(im.dir, usedFile)); err == nil {
		return st.ModTime()
	}
	return im.Manifest.Built
}
