package rootfs

import (
	"fmt"
	"io"
	"io/fs"
	"strconv"
)

// newc is the header of an archive's file: 6 bytes of magic, then numbers of 8
// hexadecimal digits (Linux, Documentation/driver-api/early-userspace/buffer-format.rst).
const (
	newcSize     = 110
	newcMode     = 6 + 8*1
	newcFileSize = 6 + 8*6
	newcNameSize = 6 + 8*11
	maxNewcName  = 4096
)

// OpenCPIO finds a regular file in the first segment of an uncompressed newc
// archive, without reading what the others hold.
func OpenCPIO(r io.ReaderAt, size int64, name string) (*io.SectionReader, error) {
	for at := int64(0); at+newcSize <= size; {
		var h [newcSize]byte
		if _, err := r.ReadAt(h[:], at); err != nil {
			return nil, fmt.Errorf("initramfs, at offset %d: %w", at, err)
		}
		number := func(of int) int64 {
			n, err := strconv.ParseUint(string(h[of:of+8]), 16, 32)
			if err != nil {
				return -1
			}
			return int64(n)
		}
		mode, length, nameLength := number(newcMode), number(newcFileSize), number(newcNameSize)
		if string(h[:5]) != "07070" || mode < 0 || length < 0 || nameLength < 1 || nameLength > maxNewcName {
			return nil, fmt.Errorf("initramfs, at offset %d: no header of a file", at)
		}
		text := make([]byte, nameLength-1) // a zero ends it
		if _, err := r.ReadAt(text, at+newcSize); err != nil {
			return nil, fmt.Errorf("initramfs, at offset %d: %w", at, err)
		}
		content := (at + newcSize + nameLength + 3) &^ 3
		if string(text) == name && mode&ModeType == ModeRegular {
			return io.NewSectionReader(r, content, min(length, max(0, size-content))), nil
		}
		if string(text) == "TRAILER!!!" {
			break
		}
		at = (content + length + 3) &^ 3
	}
	return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
}
