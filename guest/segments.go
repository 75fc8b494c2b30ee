package guest

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"nvlab/guest/rootfs"
)

// ownArchive has, of a guest with extra packages, the file tree but for what is
// in initrd.cpio: that is then the file of the guest without them, by a link. The
// kernel unpacks the one and then the other.
const ownArchive = "own.cpio"

// writeTree writes a guest's file tree into its folder: into one file, or into
// two if the guest without extra packages has one that can be shared.
func (s *Store) writeTree(dir string, t *rootfs.Tree, m *Manifest, through func(io.Writer) io.Writer) (err error) {
	if len(m.Extra) > 0 {
		if done, err := s.writeOwn(dir, t, m, through); done || err != nil {
			return err
		}
	}
	m.Initrd, err = writeHashed(filepath.Join(dir, initrdFile), func(w io.Writer) error { return t.WriteCPIO(through(w)) })
	return err
}

func (s *Store) writeOwn(dir string, t *rootfs.Tree, m *Manifest, through func(io.Writer) io.Writer) (bool, error) {
	its, err := s.manifest(m.Base)
	if err != nil || its.Recipe != recipe || len(its.Extra) > 0 {
		return false, nil // there is none to share with
	}
	base := imageAt(s.guest(m.Base), its)
	if newVerifier(base).check(initrdFile, its.Initrd) != nil {
		return false, nil // nor with what is damaged
	}
	to := filepath.Join(dir, initrdFile)
	if os.Link(base.BaseInitrd, to) != nil {
		return false, nil // the file system has no links
	}
	f, err := os.Open(to)
	if err != nil {
		return false, err
	}
	defer f.Close()
	own, err := t.Beyond(io.NewSectionReader(f, 0, its.Initrd.Size))
	if err != nil {
		return false, fmt.Errorf("the guest %s: %w", m.Base, err)
	}
	if own == nil {
		return false, os.Remove(to)
	}
	sum, err := writeHashed(filepath.Join(dir, ownArchive), func(w io.Writer) error { return own.WriteCPIO(through(w)) })
	if err != nil {
		return false, err
	}
	m.Recipe, m.Initrd, m.Archives[ownArchive] = splitRecipe, its.Initrd, sum
	return true, nil
}

// segments are the files that make the guest's tree, in order.
func (im *Image) segments() []segment {
	list := []segment{{im.BaseInitrd, im.Manifest.Initrd.Size}}
	if own, ok := im.Manifest.Archives[ownArchive]; ok {
		list = append(list, segment{filepath.Join(im.dir, ownArchive), own.Size})
	}
	return list
}

type segment struct {
	file string
	size int64
}
