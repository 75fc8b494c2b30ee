package agent

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// reserve is the memory that writing files never takes, in bytes: a guest with
// less kills processes, and panics when none is left.
const reserve = 16 << 20

// roomFor refuses what would take memory that the guest needs.
func roomFor(bytes int64) error {
	available, total, err := memory()
	if err != nil {
		return err
	}
	if bytes > available-reserve {
		return fmt.Errorf("%s are wanted, and the guest has %s of its %s of memory to spare: give it more memory", mib(bytes), mib(max(0, available-reserve)), mib(total))
	}
	return nil
}

func mib(n int64) string { return fmt.Sprintf("%d MiB", (n+1<<20-1)>>20) }

// memory is MemAvailable and MemTotal of /proc/meminfo (proc(5)), in bytes.
func memory() (available, total int64, err error) {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, 0, err
	}
	field := func(name string) int64 {
		_, rest, _ := strings.Cut(string(text), name+":")
		rest, _, _ = strings.Cut(strings.TrimSpace(rest), " ")
		n, _ := strconv.ParseInt(rest, 10, 64)
		return n << 10
	}
	return field("MemAvailable"), field("MemTotal"), nil
}

// memoryFile writes to a file, which may lie in memory.
type memoryFile struct {
	*os.File
	inMemory bool
	left     int64 // bytes to write before room is looked for again
}

// Magic numbers of statfs(2).
const (
	tmpfsMagic = 0x01021994
	ramfsMagic = 0x858458f6
)

func newMemoryFile(f *os.File) *memoryFile {
	m := &memoryFile{File: f}
	var st unix.Statfs_t
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() && unix.Fstatfs(int(f.Fd()), &st) == nil {
		m.inMemory = st.Type == tmpfsMagic || st.Type == ramfsMagic
	}
	return m
}

func (m *memoryFile) room(n int) error {
	if !m.inMemory {
		return nil
	}
	if m.left -= int64(n); m.left > 0 {
		return nil
	}
	m.left = 1 << 20
	return roomFor(m.left + int64(n))
}

func (m *memoryFile) Write(b []byte) (int, error) {
	if err := m.room(len(b)); err != nil {
		return 0, err
	}
	return m.File.Write(b)
}

func (m *memoryFile) WriteAt(b []byte, at int64) (int, error) {
	if err := m.room(len(b)); err != nil {
		return 0, err
	}
	return m.File.WriteAt(b, at)
}
