package lab

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// symbols are the functions of a guest's kernel and its modules, by address.
type symbols struct {
	addr []uint64
	name []string

	cpuOffsets uint64 // of each CPU's own data, an array
	current    uint64 // of the pointer to the current task, within that data
	hasCurrent bool
}

// readSymbols gets them from the running guest, unless they are those that
// were read before (proc(5), /proc/kallsyms).
func (v *VM) readSymbols(ctx context.Context) error {
	modules, err := v.ReadFile(ctx, "/proc/modules")
	if err != nil {
		return err
	}
	loaded := addresses(modules)
	if v.symbols != nil && loaded == v.modules {
		return nil
	}
	text, err := v.ReadFile(ctx, "/proc/kallsyms")
	if err != nil {
		return err
	}
	image, err := v.x.lab.image(ctx, v.opts.guest())
	if err != nil {
		return err
	}
	v.symbols, v.modules = parseSymbols(text), loaded
	if v.processes == nil {
		v.processes = newProcesses(v.m.Memory(), image.tasks(), v.symbols)
	}
	return nil
}

// addresses are the modules' names and where they are (proc(5),
// /proc/modules).
func addresses(modules []byte) string {
	var b strings.Builder
	for line := range bytes.Lines(modules) {
		if f := bytes.Fields(line); len(f) >= 6 {
			fmt.Fprintf(&b, "%s %s\n", f[0], f[5])
		}
	}
	return b.String()
}

// parseSymbols reads lines of address, type, name and, in brackets, module.
// The kernel's own come in order, those of modules after them.
func parseSymbols(text []byte) *symbols {
	type entry struct {
		addr uint64
		name string
	}
	var list []entry
	s := &symbols{}
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
	slices.SortStableFunc(list, func(a, b entry) int {
		if a.addr < b.addr {
			return -1
		} else if a.addr > b.addr {
			return 1
		}
		return 0
	})
	for _, e := range list {
		s.addr, s.name = append(s.addr, e.addr), append(s.name, e.name)
	}
	return s
}

// maxFunction is how far from a symbol an address may be to be its.
const maxFunction = 64 << 10

// at is the function and offset of a kernel address, "" if there is none.
func (s *symbols) at(pc uint64) string {
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
