package lab

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strconv"
)

// symbols are the functions of a guest's kernel and its modules, by address.
type symbols struct {
	addr []uint64
	name []string
}

// readSymbols gets them from the running guest (proc(5), /proc/kallsyms).
func (v *VM) readSymbols(ctx context.Context) (*symbols, error) {
	text, err := v.ReadFile(ctx, "/proc/kallsyms")
	if err != nil {
		return nil, err
	}
	return parseSymbols(text), nil
}

// parseSymbols reads lines of address, type, name and, in brackets, module.
// The kernel's own come in order, those of modules after them.
func parseSymbols(text []byte) *symbols {
	type entry struct {
		addr uint64
		name string
	}
	var list []entry
	for line := range bytes.Lines(text) {
		f := bytes.Fields(line)
		if len(f) < 3 || len(f[1]) != 1 || f[1][0]|0x20 != 't' {
			continue
		}
		addr, err := strconv.ParseUint(string(f[0]), 16, 64)
		if err != nil || addr == 0 {
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
	s := &symbols{}
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
