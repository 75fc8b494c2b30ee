package introspect

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strconv"
)

// Symbols are the functions of a kernel and its modules, by address.
type Symbols struct {
	addr []uint64
	name []string

	cpuOffsets uint64 // of each CPU's own data, an array
	current    uint64 // of the pointer to the current task, within that data
	hasCurrent bool
}

// ParseSymbols reads /proc/kallsyms (proc(5)): lines of address, type, name
// and, in brackets, module. Lines of another form are passed over.
func ParseSymbols(text []byte) *Symbols {
	type entry struct {
		addr uint64
		name string
	}
	var list []entry
	s := &Symbols{}
	for line := range bytes.Lines(text) {
		f := bytes.Fields(line)
		if len(f) < 3 || len(f[1]) != 1 {
			continue
		}
		addr, err := strconv.ParseUint(string(f[0]), 16, 64)
		if err != nil {
			continue
		}
		switch string(f[2]) {
		case "__per_cpu_offset":
			s.cpuOffsets = addr
		case "current_task", "pcpu_hot": // the latter begins with it, since Linux 6.2
			s.current, s.hasCurrent = addr, true
		}
		if f[1][0]|0x20 != 't' || addr == 0 {
			continue
		}
		list = append(list, entry{addr, string(f[2])})
	}
	// The kernel's own come in order, those of modules after them.
	slices.SortStableFunc(list, func(a, b entry) int { return cmp.Compare(a.addr, b.addr) })
	for _, e := range list {
		s.addr, s.name = append(s.addr, e.addr), append(s.name, e.name)
	}
	return s
}

// maxFunction is how far from a symbol an address may be to be its.
const maxFunction = 64 << 10

// At is the function and offset of a kernel address, such as memcpy+0x10, ""
// if there is none. A nil s has none.
func (s *Symbols) At(pc uint64) string {
	if s == nil || pc>>63 == 0 {
		return ""
	}
	i, found := slices.BinarySearch(s.addr, pc)
	if !found {
		i--
	}
	if i < 0 || pc-s.addr[i] > maxFunction {
		return ""
	}
	return fmt.Sprintf("%s+%#x", s.name[i], pc-s.addr[i])
}

// Find is the address of a function.
func (s *Symbols) Find(name string) (addr uint64, ok bool) {
	i := slices.Index(s.name, name)
	if i < 0 {
		return 0, false
	}
	return s.addr[i], true
}
