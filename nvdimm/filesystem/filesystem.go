// Package filesystem names the structures of ext4 and XFS, as far as their
// headers tell where they are.
package filesystem

import (
	"encoding/binary"
	"fmt"
	"io"
)

// A Layout is the structures of a file system. What none of them covers has no
// name.
type Layout struct {
	from  io.ReaderAt
	spans []span
	xfs   *xfs
}

// span is a structure, in bytes from the file system's start. Name may depend
// on where in it.
type span struct {
	start, end uint64
	name       func(off uint64) string
}

func (l *Layout) add(start, length uint64, name func(off uint64) string) {
	if length > 0 && start+length > start {
		l.spans = append(l.spans, span{start, start + length, name})
	}
}

func called(name string) func(uint64) string { return func(uint64) string { return name } }

// maxGroups bounds the block groups, and the allocation groups, that are looked
// at: 2 TiB of blocks of 4 KiB.
const maxGroups = 1 << 14

// Read finds the structures of the file system that begins at the reader's start.
// The second result says that there is one.
func Read(from io.ReaderAt) (Layout, bool) {
	l := Layout{from: from}
	return l, l.readExt4() || l.readXFS()
}

// At names the structure at an offset, "" if it has no name here.
func (l *Layout) At(off uint64) string {
	for _, s := range l.spans {
		if off >= s.start && off < s.end {
			return s.name(off)
		}
	}
	if l.xfs != nil {
		return l.xfs.block(l.bytes, off)
	}
	return ""
}

// bytes are n bytes at an offset, nil if they cannot be read.
func (l *Layout) bytes(off uint64, n int) []byte {
	if off > 1<<62 {
		return nil
	}
	p := make([]byte, n)
	if _, err := l.from.ReadAt(p, int64(off)); err != nil {
		return nil
	}
	return p
}

var le, be = binary.LittleEndian, binary.BigEndian

// readExt4 reads the superblock at 1024, the group descriptors behind it and the
// journal's inode (Linux, Documentation/filesystems/ext4: super.rst,
// group_descr.rst, inodes.rst, ifork.rst).
func (l *Layout) readExt4() bool {
	const superAt, superSize = 1024, 1024
	s := l.bytes(superAt, superSize)
	if s == nil || le.Uint16(s[0x38:]) != 0xef53 || le.Uint32(s[0x18:]) > 6 {
		return false
	}
	block := uint64(1024) << le.Uint32(s[0x18:])
	first, perGroup, inodes := uint64(le.Uint32(s[0x14:])), uint64(le.Uint32(s[0x20:])), uint64(le.Uint32(s[0x28:]))
	inodeSize, descSize := uint64(le.Uint16(s[0x58:])), uint64(32)
	blocks := uint64(le.Uint32(s[4:]))
	if le.Uint32(s[0x60:])&0x80 != 0 { // INCOMPAT_64BIT
		blocks |= uint64(le.Uint32(s[0x150:])) << 32
		descSize = uint64(le.Uint16(s[0xfe:]))
	}
	if perGroup == 0 || inodes == 0 || inodeSize < 128 || descSize < 32 || descSize > block || blocks <= first {
		return false
	}
	l.add(superAt, superSize, called("ext4's superblock"))
	groups := min((blocks-first+perGroup-1)/perGroup, maxGroups)
	table := (first + 1) * block
	l.add(table, groups*descSize, func(off uint64) string { return fmt.Sprintf("ext4's group descriptor %d", (off-table)/descSize) })
	var inodesOf0 uint64
	for g := range groups {
		d := l.bytes(table+g*descSize, int(descSize))
		if d == nil {
			break
		}
		at := func(lo, hi int) uint64 {
			n := uint64(le.Uint32(d[lo:]))
			if descSize >= 64 {
				n |= uint64(le.Uint32(d[hi:])) << 32
			}
			return n * block
		}
		l.add(at(0, 0x20), block, called(fmt.Sprintf("ext4's block bitmap of group %d", g)))
		l.add(at(4, 0x24), block, called(fmt.Sprintf("ext4's inode bitmap of group %d", g)))
		start := at(8, 0x28)
		if g == 0 {
			inodesOf0 = start
		}
		l.add(start, inodes*inodeSize, func(off uint64) string { return fmt.Sprintf("ext4's inode %d", g*inodes+(off-start)/inodeSize+1) })
	}
	if n := uint64(le.Uint32(s[0xe0:])); n >= 1 && n <= inodes && inodesOf0 > 0 {
		l.readJournal(l.bytes(inodesOf0+(n-1)*inodeSize, 128), block)
	}
	return true
}

// journalBlocks are the types of blocks of jbd2 (journal.rst).
var journalBlocks = map[uint32]string{1: "descriptor block", 2: "commit block", 3: "superblock", 4: "superblock", 5: "revocation block"}

const jbd2Magic = 0xc03b3998

// readJournal follows the extents of the journal's inode, if they are in it.
func (l *Layout) readJournal(inode []byte, block uint64) {
	const extents = 40 // i_block
	if inode == nil || le.Uint16(inode[extents:]) != 0xf30a || le.Uint16(inode[extents+6:]) != 0 {
		return
	}
	for i := range min(int(le.Uint16(inode[extents+2:])), 4) {
		e := inode[extents+12+12*i:]
		start := (uint64(le.Uint16(e[6:]))<<32 | uint64(le.Uint32(e[8:]))) * block
		l.add(start, uint64(le.Uint16(e[4:]))*block, func(off uint64) string {
			head := l.bytes(off-off%block, 8)
			if head != nil && be.Uint32(head) == jbd2Magic {
				if what := journalBlocks[be.Uint32(head[4:])]; what != "" {
					return "a " + what + " of ext4's journal"
				}
			}
			return "a logged block in ext4's journal"
		})
	}
}

type xfs struct{ size, inode uint64 } // of a block, of an inode

// xfsMagic names blocks by how they begin (Linux, fs/xfs/libxfs/xfs_format.h and
// xfs_da_format.h).
var xfsMagic = map[string]string{
	"AB3B": "a block of the free space tree by block", "AB3C": "a block of the free space tree by size",
	"IAB3": "a block of the inode tree", "FIB3": "a block of the free inode tree",
	"RMB3": "a block of the reverse mapping tree", "R3FC": "a block of the reference count tree",
	"BMA3": "a block of an extent tree", "XDB3": "a block of a directory", "XDD3": "a data block of a directory",
}

// readXFS reads the superblock (xfs_format.h, struct xfs_dsb).
func (l *Layout) readXFS() bool {
	s := l.bytes(0, 128)
	if s == nil || string(s[:4]) != "XFSB" {
		return false
	}
	block, sector := uint64(be.Uint32(s[4:])), uint64(be.Uint16(s[102:]))
	agBlocks, ags, agLog := uint64(be.Uint32(s[84:])), uint64(be.Uint32(s[88:])), s[124]
	inode := uint64(be.Uint16(s[104:]))
	if block < 512 || block > 65536 || sector < 512 || sector > block || agBlocks == 0 || ags == 0 || agLog > 31 || inode < 256 || inode > block {
		return false
	}
	l.xfs = &xfs{block, inode}
	if start := be.Uint64(s[48:]); start != 0 {
		at := ((start>>agLog)*agBlocks + start&(1<<agLog-1)) * block
		l.add(at, uint64(be.Uint32(s[96:]))*block, func(off uint64) string {
			if head := l.bytes(off-(off-at)%512, 4); head != nil && be.Uint32(head) == 0xfeedbabe {
				return "a record header of XFS's log"
			}
			return "XFS's log"
		})
	}
	for ag := range min(ags, maxGroups) {
		for i, name := range []string{"superblock", "AGF", "AGI", "AGFL"} {
			text := fmt.Sprintf("XFS's %s of allocation group %d", name, ag)
			if i == 0 && ag == 0 {
				text = "XFS's superblock"
			}
			l.add(ag*agBlocks*block+uint64(i)*sector, sector, called(text))
		}
	}
	return true
}

// block names a block by how it begins, or an inode.
func (x *xfs) block(bytes func(uint64, int) []byte, off uint64) string {
	if head := bytes(off-off%x.inode, 2); head != nil && string(head) == "IN" {
		return "an inode of XFS"
	}
	if head := bytes(off-off%x.size, 4); head != nil {
		if what := xfsMagic[string(head)]; what != "" {
			return what + " of XFS"
		}
	}
	return ""
}
