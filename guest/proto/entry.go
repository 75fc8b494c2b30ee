package proto

import (
	"fmt"
	"path"
	"strings"
)

// Types of an Entry, as in st_mode (inode(7)).
const (
	ModeType    = 0o170000
	ModeRegular = 0o100000
	ModeDir     = 0o040000
	ModeSymlink = 0o120000
)

const (
	maxFile = 1<<63 - 1 // off_t
	maxPath = 4096      // PATH_MAX
)

// Entry is a file, a folder or a symbolic link of a tree that is pushed or
// pulled. A folder comes before what is in it. What is neither is left out by
// who sends; who receives refuses it.
type Entry struct {
	Path string // relative to the tree's root, clean, with no ".."; "" is the root itself
	Mode uint32 // st_mode: type and permissions
	Size uint64 // of a regular file, in bytes: what no Extent covers is a hole
	Link string // target of a symbolic link: any text, never followed
}

// check refuses an entry that could lead out of its tree.
func (e *Entry) check() error {
	switch {
	case len(e.Path) > maxPath || len(e.Link) > maxPath:
		return fmt.Errorf("entry frame: a path of %d bytes, a link of %d; at most %d are allowed", len(e.Path), len(e.Link), maxPath)
	case strings.ContainsRune(e.Path, 0) || strings.ContainsRune(e.Link, 0):
		return fmt.Errorf("entry frame: path %q or link %q holds a NUL", e.Path, e.Link)
	case e.Path != "" && (path.Clean(e.Path) != e.Path || path.IsAbs(e.Path) || e.Path == "." || e.Path == ".." || strings.HasPrefix(e.Path, "../")):
		return fmt.Errorf("entry frame: path %q is not below its tree", e.Path)
	}
	switch e.Mode & ModeType {
	case ModeRegular, ModeDir, ModeSymlink:
		return nil
	}
	return fmt.Errorf("entry frame: %q is of type %#o; files, folders and symbolic links are known", e.Path, e.Mode&ModeType)
}
