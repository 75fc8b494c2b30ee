// Package boot puts a Linux kernel into guest memory so that it starts at its
// 64-bit entry point, with no firmware and no decompressor in between.
//
// Offsets of the setup header and of the zero page are those of Linux,
// Documentation/arch/x86/boot.rst (protocol 2.15) and zero-page.rst.
package boot

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
)

// A Kernel is a kernel that can be placed in memory.
type Kernel struct {
	Path    string // as given to Load
	Version string // of a bzImage, such as "6.1.0-56-cloud-amd64 (...)"; else ""
	Entry   uint64 // physical address of the 64-bit entry point

	CmdlineMax int    // longest command line in bytes, without the final NUL
	InitrdMax  uint64 // highest address an initramfs may occupy

	header   []byte // the bzImage's setup header, from offset 0x1f1; nil for an ELF file
	segments []segment
	image    io.ReaderAt
	file     *os.File
}

// MemorySize is how much memory the kernel takes where it lies, in bytes.
func (k *Kernel) MemorySize() uint64 {
	var low, high uint64
	for i, s := range k.segments {
		if i == 0 || s.paddr < low {
			low = s.paddr
		}
		high = max(high, s.paddr+s.memsz)
	}
	return high - low
}

// Limits of a kernel that came without a setup header: those of every Linux
// since 2.6.24 (COMMAND_LINE_SIZE; boot.rst, initrd_addr_max).
const (
	defaultCmdlineMax = 2047
	defaultInitrdMax  = 0x7fffffff
)

// maxImage bounds a compressed and an uncompressed kernel, in bytes.
const maxImage = 1 << 30

// errNotKernel ends every complaint about a file that is none.
var errNotKernel = errors.New("want a bzImage or an x86-64 ELF vmlinux")

// Load opens a bzImage or an uncompressed ELF vmlinux. A vmlinux is read when
// it is placed, so the file stays open until Close.
func Load(path string) (*Kernel, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	k, err := load(f)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if k.file == nil {
		f.Close()
	}
	k.Path = path
	return k, nil
}

func load(f *os.File) (*Kernel, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	switch {
	case info.IsDir():
		return nil, fmt.Errorf("not a kernel: a directory (%w)", errNotKernel)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("not a kernel: not a regular file (%w)", errNotKernel)
	case info.Size() > maxImage:
		return nil, fmt.Errorf("not a kernel: %d bytes, more than 1 GiB (%w)", info.Size(), errNotKernel)
	}
	var magic [4]byte
	if n, _ := f.ReadAt(magic[:], 0); n == 4 && string(magic[:]) == elfMagic {
		k, err := parseELF(f, info.Size())
		if err != nil {
			return nil, err
		}
		k.file = f
		return k, nil
	}
	data, err := io.ReadAll(io.NewSectionReader(f, 0, info.Size()))
	if err != nil {
		return nil, err
	}
	return Parse(data)
}

// Parse is Load for an image in memory, which it keeps.
func Parse(data []byte) (*Kernel, error) {
	if bytes.HasPrefix(data, []byte(elfMagic)) {
		return parseELF(bytes.NewReader(data), int64(len(data)))
	}
	h, err := parseHeader(data)
	if err != nil {
		return nil, err
	}
	vmlinux, err := h.decompress()
	if err != nil {
		return nil, err
	}
	k, err := parseELF(bytes.NewReader(vmlinux), int64(len(vmlinux)))
	if err != nil {
		return nil, fmt.Errorf("payload of the bzImage: %w", err)
	}
	k.header = h.raw
	k.Version = h.version
	k.CmdlineMax = h.cmdlineMax
	k.InitrdMax = h.initrdMax
	return k, nil
}

// Decompress returns the ELF vmlinux inside a bzImage.
func Decompress(bzImage []byte) ([]byte, error) {
	h, err := parseHeader(bzImage)
	if err != nil {
		return nil, err
	}
	return h.decompress()
}

// Close lets go of the kernel's file.
func (k *Kernel) Close() error {
	if k.file == nil {
		return nil
	}
	f := k.file
	k.file = nil
	return f.Close()
}

// Has says that the kernel's image has a text in it.
func (k *Kernel) Has(text string) (bool, error) {
	const chunk = 1 << 20
	buf := make([]byte, chunk)
	for _, s := range k.segments {
		for off := uint64(0); off < s.filesz; off += chunk - uint64(len(text)) {
			b := buf[:min(chunk, s.filesz-off)]
			if _, err := k.image.ReadAt(b, int64(s.offset+off)); err != nil {
				return false, fmt.Errorf("%s: %w", k.Path, err)
			}
			if bytes.Contains(b, []byte(text)) {
				return true, nil
			}
		}
	}
	return false, nil
}

// End is the first physical address behind the kernel and its bss.
func (k *Kernel) End() uint64 {
	var end uint64
	for _, s := range k.segments {
		end = max(end, s.paddr+s.memsz)
	}
	return end
}
