package filesystem

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// made is an image that mkfs makes.
func made(t testing.TB, size int64, name string, args ...string) []byte {
	t.Helper()
	tool, err := exec.LookPath(name)
	if err != nil {
		if tool, err = exec.LookPath("/sbin/" + name); err != nil {
			t.Skipf("no %s", name)
		}
	}
	path := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(tool, append(args, path)...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	image, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

func names(t *testing.T, image []byte, want map[uint64]string) {
	t.Helper()
	l, ok := Read(bytes.NewReader(image))
	if !ok {
		t.Fatal("no file system is found")
	}
	for off, name := range want {
		if got := l.At(off); got != name {
			t.Errorf("at %#x there is %q, want %q", off, got, name)
		}
	}
}

// TestExt4 holds the names to what mkfs.ext4 makes: with 32 MiB and blocks of
// 4 KiB the descriptors are in block 1, and the journal has a superblock.
func TestExt4(t *testing.T) {
	image := made(t, 32<<20, "mkfs.ext4", "-q", "-b", "4096", "-I", "256", "-F")
	d := image[4096:]
	block := func(at int) uint64 { return uint64(binary.LittleEndian.Uint32(d[at:])) * 4096 }
	journal := uint64(bytes.Index(image, []byte{0xc0, 0x3b, 0x39, 0x98, 0, 0, 0, 4}))
	names(t, image, map[uint64]string{
		1024: "ext4's superblock", 2047: "ext4's superblock", 0: "",
		4096: "ext4's group descriptor 0", block(0): "ext4's block bitmap of group 0", block(4): "ext4's inode bitmap of group 0",
		block(8): "ext4's inode 1", block(8) + 7*256 + 255: "ext4's inode 8", block(8) + 11*256: "ext4's inode 12",
		journal: "a superblock of ext4's journal", journal + 4096: "a logged block in ext4's journal",
	})
	copy(image[journal+8192:], []byte{0xc0, 0x3b, 0x39, 0x98, 0, 0, 0, 2})
	names(t, image, map[uint64]string{journal + 8192 + 32: "a commit block of ext4's journal"})
}

// xfsImage is a superblock and what else is looked at, of 4 allocation groups of
// 1,024 blocks.
func xfsImage() []byte {
	image := make([]byte, 16<<20)
	copy(image, "XFSB")
	be.PutUint32(image[4:], 4096)
	be.PutUint64(image[48:], 2<<10|100) // the log, in group 2
	be.PutUint32(image[84:], 1024)
	be.PutUint32(image[88:], 4)
	be.PutUint32(image[96:], 64)
	be.PutUint16(image[102:], 512)
	be.PutUint16(image[104:], 512)
	image[124] = 10
	log := (2*1024 + 100) * 4096
	be.PutUint32(image[log+1024:], 0xfeedbabe)
	copy(image[5*4096:], "AB3B")
	copy(image[9*4096+512:], "IN")
	return image
}

func TestXFS(t *testing.T) {
	names(t, xfsImage(), map[uint64]string{
		0: "XFS's superblock", 600: "XFS's AGF of allocation group 0", 1024*4096 + 1024: "XFS's AGI of allocation group 1",
		3*1024*4096 + 1536: "XFS's AGFL of allocation group 3", (2*1024 + 100) * 4096: "XFS's log", (2*1024+100)*4096 + 1500: "a record header of XFS's log",
		5*4096 + 4000: "a block of the free space tree by block of XFS", 9*4096 + 600: "an inode of XFS", 9 * 4096: "",
	})
}

func FuzzRead(f *testing.F) {
	f.Add(xfsImage()[:8192], uint64(600))
	ext4 := make([]byte, 16384)
	binary.LittleEndian.PutUint16(ext4[1024+0x38:], 0xef53)
	for off, v := range map[int]uint32{4: 8192, 0x18: 2, 0x20: 32768, 0x28: 128, 0x58: 256, 0xe0: 8} {
		binary.LittleEndian.PutUint32(ext4[1024+off:], v)
	}
	f.Add(ext4, uint64(5000))
	f.Fuzz(func(t *testing.T, image []byte, off uint64) {
		l, _ := Read(bytes.NewReader(image))
		l.At(off)
	})
}
