// Package introspect tells what a guest's kernel is doing from what it has in
// memory: which process a CPU runs, and which function is at an address. The
// guest takes no part, so that what it does does not change.
//
// What is where comes from the kernel itself: its type information
// (Linux Documentation/bpf/btf.rst) and /proc/kallsyms.
package introspect

import "fmt"

// Memory is a guest's, by physical address.
type Memory interface {
	ReadAt(p []byte, addr int64) (int, error)
}

// A Process is one of the guest's, or a thread of its kernel. The zero
// Process is one that is not known.
type Process struct {
	Name string // the kernel's, of at most 15 bytes
	PID  int    // 0 of a CPU that is idle
}

func (p Process) String() string {
	if p == (Process{}) {
		return ""
	}
	return fmt.Sprintf("%s[%d]", p.Name, p.PID)
}
