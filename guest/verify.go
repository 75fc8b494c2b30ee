package guest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// checkedFile is where a guest's files were noted when their digests were right.
const checkedFile = "checked.json"

// checked is the state that each file had then, by name.
type checked map[string]stamp

// A stamp tells whether a file has changed without reading it.
type stamp struct {
	Size   int64     `json:"size"`
	MTime  time.Time `json:"mtime"`
	Inode  uint64    `json:"inode"`
	SHA256 string    `json:"sha256"`
	At     time.Time `json:"at"` // when the digest was made
}

// settled is how old a file must be for its time to tell of the next change: a
// clock that file systems read may tick as rarely.
const settled = time.Second

func (s stamp) holds(info os.FileInfo, sum string) bool {
	return s.SHA256 == sum && s.Size == info.Size() && s.MTime.Equal(info.ModTime()) && s.Inode == inode(info) &&
		s.At.Sub(s.MTime) > settled
}

// A DamagedError says that a file of a guest is not what was built.
type DamagedError struct{ Name, File, Why string }

func (e *DamagedError) Error() string {
	return fmt.Sprintf("the guest %s is damaged: its %s %s", e.Name, e.File, e.Why)
}

// Unwrap makes it a guest that is not there.
func (e *DamagedError) Unwrap() error { return ErrNoGuest }

// verify holds a guest's files to its manifest. It reads those that may have
// changed since it last did. What can be made again of sound files is.
func (s *Store) verify(im *Image) error {
	v := newVerifier(im)
	files := map[string]FileSum{kernelFile: im.Manifest.Image, initrdFile: im.Manifest.Initrd}
	for file, want := range im.Manifest.Archives {
		if file == filepath.Base(file) {
			files[file] = want
		}
	}
	for file, want := range files {
		if err := v.check(file, want); err != nil {
			return err
		}
	}
	if im.VmlinuxPath != "" {
		if err := v.check(vmlinuxFile, im.Manifest.Vmlinux); errors.Is(err, ErrNoGuest) {
			im.VmlinuxPath = "" // complete makes it again
		} else if err != nil {
			return err
		}
	}
	if v.read {
		v.note()
	}
	return nil
}

type verifier struct {
	im    *Image
	notes checked
	read  bool // digests were made
}

func newVerifier(im *Image) *verifier {
	v := &verifier{im: im, notes: checked{}}
	if b, err := os.ReadFile(filepath.Join(im.dir, checkedFile)); err != nil || json.Unmarshal(b, &v.notes) != nil {
		v.notes = checked{}
	}
	return v
}

func (v *verifier) check(file string, want FileSum) error {
	f, err := os.Open(filepath.Join(v.im.dir, file))
	if errors.Is(err, os.ErrNotExist) {
		return &DamagedError{v.im.Name, file, "is missing"}
	}
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() != want.Size {
		return &DamagedError{v.im.Name, file, fmt.Sprintf("has %d bytes, and had %d", info.Size(), want.Size)}
	}
	if v.notes[file].holds(info, want.SHA256) {
		return nil
	}
	at := time.Now()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return fmt.Errorf("the guest %s: %w", v.im.Name, err)
	}
	if sum := hex.EncodeToString(h.Sum(nil)); sum != want.SHA256 {
		return &DamagedError{v.im.Name, file, fmt.Sprintf("has the SHA-256 %s, and had %s", sum, want.SHA256)}
	}
	v.read = true
	v.notes[file] = stamp{Size: want.Size, MTime: info.ModTime(), Inode: inode(info), SHA256: want.SHA256, At: at}
	return nil
}

// note writes down what was found. Where it cannot, the next one looks again.
func (v *verifier) note() {
	writeFileAtomic(filepath.Join(v.im.dir, checkedFile), func(f *os.File) error { return json.NewEncoder(f).Encode(v.notes) })
}

// sound returns a guest if it is whole and unchanged, with its vmlinux.
func (s *Store) sound(im *Image) (*Image, error) {
	if err := im.hold(); err != nil {
		return nil, err
	}
	if err := s.verify(im); err != nil {
		return nil, err
	}
	return s.complete(im)
}
