package guest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// DefaultLimit is how large a store may get before a build removes the guests
// that were not used for longest. NVLAB_STORE_LIMIT, a number of bytes or a size
// such as 4GiB, is another.
const DefaultLimit = 8 << 30

// Limit is the bound of the stores of this process, in bytes.
func Limit() (int64, error) {
	text := os.Getenv("NVLAB_STORE_LIMIT")
	if text == "" {
		return DefaultLimit, nil
	}
	n, err := ParseLimit(text)
	if err != nil {
		return 0, fmt.Errorf("NVLAB_STORE_LIMIT=%s: %w", text, err)
	}
	return n, nil
}

// Size is what the store takes of its disk, in bytes, but for the states of
// machines: these have a bound of their own.
func (s *Store) Size() (int64, error) {
	seen := map[uint64]bool{}
	all, err := treeSize(s.dir, seen)
	if err != nil {
		return 0, err
	}
	states, err := treeSize(s.inside(StatesDir), map[uint64]bool{})
	return all - states, err
}

// Size is what the guest takes of its disk, in bytes; what it shares with
// others counts in full.
func (im *Image) Size() (int64, error) { return treeSize(im.dir, map[uint64]bool{}) }

// treeSize adds up the files below a folder, each once. What goes away meanwhile
// counts for nothing.
func treeSize(dir string, seen map[uint64]bool) (total int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			var info fs.FileInfo
			if info, err = d.Info(); err == nil && !seen[inode(info)] {
				seen[inode(info)] = inode(info) != 0
				total += blocks(info)
			}
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	return total, err
}

// Remove deletes a guest that nobody uses, and the downloads that no other guest
// was made from. An error that wraps ErrInUse says that somebody does.
func (s *Store) Remove(name string) error {
	lock, err := lockFile(s.inside("lock"), true)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := s.remove(name); err != nil {
		return err
	}
	return s.pruneDownloads()
}

// remove is for who holds the lock. What has no manifest can be removed as well.
func (s *Store) remove(name string) error {
	st, err := os.Stat(s.guest(name))
	if !validName(name) || errors.Is(err, fs.ErrNotExist) || err == nil && !st.IsDir() {
		return fmt.Errorf("%w: %s", ErrNoGuest, name)
	}
	claim, err := (&Image{dir: s.guest(name)}).claim()
	if err != nil {
		return fmt.Errorf("the guest %s: %w", name, err)
	}
	defer claim.Close()
	if err := os.MkdirAll(s.tmp(), 0o755); err != nil {
		return err
	}
	// Renamed first: a guest is there as a whole or not at all.
	gone, err := os.MkdirTemp(s.tmp(), "removed-")
	if err != nil {
		return err
	}
	if err := os.Rename(s.guest(name), filepath.Join(gone, "guest")); err != nil {
		return err
	}
	if name == s.defaultName() {
		if err := os.Remove(s.defaultFile()); err != nil {
			return err
		}
	}
	return os.RemoveAll(gone)
}

// Prune removes the guests that were not used for longest until the store takes
// no more than limit bytes, and what builds left that died. The default guest
// and those in use stay. It returns the names of what it removed.
func (s *Store) Prune(limit int64) ([]string, error) {
	lock, err := lockFile(s.inside("lock"), true)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	// The lock is held: nobody builds.
	if err := os.RemoveAll(s.tmp()); err != nil {
		return nil, err
	}
	if err := s.pruneDownloads(); err != nil {
		return nil, err
	}
	// Files of a writer that died, and what earlier versions of nvlab kept.
	for _, pattern := range []string{"*/.new-*", "*/*/.new-*", "guests/*/initrds", "apt"} {
		left, err := filepath.Glob(filepath.Join(s.dir, pattern))
		if err != nil {
			return nil, err
		}
		for _, name := range left {
			if st, err := os.Stat(name); err == nil && time.Since(st.ModTime()) > writing {
				if err := os.RemoveAll(name); err != nil {
					return nil, err
				}
			}
		}
	}
	return s.evict(limit, s.defaultName())
}

// bound keeps the store within its limit after a build of the guest keep. The
// caller holds the lock.
func (s *Store) bound(keep string) error {
	limit, err := Limit()
	if err != nil {
		return err
	}
	_, err = s.evict(limit, keep, s.defaultName())
	return err
}

// writing is more than the time that a file takes to be written.
const writing = time.Hour

func (s *Store) evict(limit int64, keep ...string) (gone []string, err error) {
	size, err := s.Size()
	if err != nil || size <= limit {
		return nil, err
	}
	list, err := s.List()
	if err != nil {
		return nil, err
	}
	slices.SortFunc(list, func(a, b *Image) int { return a.Used().Compare(b.Used()) })
	for _, im := range list {
		if size <= limit {
			break
		}
		if slices.Contains(keep, im.Name) {
			continue
		}
		err := s.remove(im.Name)
		if errors.Is(err, ErrInUse) {
			continue
		}
		if err == nil {
			gone = append(gone, im.Name)
			err = s.pruneDownloads()
		}
		if err == nil {
			size, err = s.Size()
		}
		if err != nil {
			return gone, err
		}
	}
	return gone, nil
}

// pruneDownloads removes the packages that no guest was made from.
func (s *Store) pruneDownloads() error {
	entries, err := os.ReadDir(s.downloads())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	list, err := s.List()
	if err != nil {
		return err
	}
	keep, named := map[string]bool{}, map[string]bool{}
	for _, im := range list {
		for _, p := range im.Manifest.Packages {
			keep[p.FileName()] = true
		}
		for _, meta := range im.Manifest.Kernel.Aliases { // they lead to a kernel again
			named[meta] = true
		}
	}
	for _, e := range entries {
		if name, _, _ := strings.Cut(e.Name(), "_"); !keep[e.Name()] && !named[name] {
			if err := os.RemoveAll(filepath.Join(s.downloads(), e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// ParseLimit reads a number of bytes, or one with K, M, G or T, as in 4GiB.
func ParseLimit(text string) (int64, error) {
	digits := strings.TrimRight(text, "iBKMGT")
	n, err := strconv.ParseInt(digits, 10, 64)
	shift := strings.IndexByte("KMGT", (text[len(digits):] + "-")[0])
	unit := strings.TrimSuffix(strings.TrimSuffix(text[len(digits):], "B"), "i")
	shift = 10 * (shift + 1)
	if err != nil || n < 0 || len(unit) > 1 || n > (1<<62)>>shift {
		return 0, fmt.Errorf("%q is no size: want a number of bytes, or one such as 4GiB", text)
	}
	return n << shift, nil
}
