package introspect

import (
	"debug/elf"
	"fmt"

	"nvlab/guest/btf"
)

// A Layout is where a kernel keeps what describes a process, in bytes within
// its structure of it.
type Layout struct {
	Name uint64 // task_struct.comm
	PID  uint64 // task_struct.tgid
}

// taskNameSize is TASK_COMM_LEN.
const taskNameSize = 16

// ReadLayout finds it in the type information of a vmlinux. A kernel that was
// built without (CONFIG_DEBUG_INFO_BTF) is an error.
func ReadLayout(vmlinux string) (*Layout, error) {
	f, err := elf.Open(vmlinux)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	s := f.Section(".BTF")
	if s == nil {
		return nil, fmt.Errorf("%s has no type information", vmlinux)
	}
	data, err := s.Data()
	if err != nil {
		return nil, err
	}
	at, err := btf.Offsets(data, "task_struct", "comm", "tgid")
	if err != nil {
		return nil, err
	}
	return &Layout{Name: at[0], PID: at[1]}, nil
}
