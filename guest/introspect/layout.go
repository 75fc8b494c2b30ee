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

	Mappings *MappingLayout `json:",omitempty"` // nil if it is not known
	Modules  *ModuleLayout  `json:",omitempty"` // likewise
}

// A MappingLayout is where a kernel keeps what a process has mapped: a tree of
// areas since Linux 6.1, before that a list.
type MappingLayout struct {
	Memory     uint64 // task_struct.mm
	Areas      uint64 // mm_struct.mm_mt.ma_root, or mm_struct.mmap
	Next       uint64 // vm_area_struct.vm_next
	Tree       bool   // there is no Next
	Start, End uint64 // vm_area_struct
	Page       uint64 // vm_area_struct.vm_pgoff
	File       uint64 // vm_area_struct.vm_file
	Entry      uint64 // file.f_path.dentry
	Name       uint64 // dentry.d_name.name
	Parent     uint64 // dentry.d_parent

	Mounts *MountLayout `json:",omitempty"` // nil if it is not known
}

// A MountLayout is where a kernel keeps what is mounted where: a file has a
// vfsmount, which is part of a mount.
type MountLayout struct {
	Mount  uint64 // file.f_path.mnt
	Root   uint64 // vfsmount.mnt_root
	Within uint64 // mount.mnt, the vfsmount
	Parent uint64 // mount.mnt_parent
	Point  uint64 // mount.mnt_mountpoint
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
	types, err := btf.Read(data)
	if err != nil {
		return nil, err
	}
	l := &Layout{}
	err = offsets(types, map[*uint64][2]string{
		&l.Name: {"task_struct", "comm"},
		&l.PID:  {"task_struct", "tgid"},
	})
	if err != nil {
		return nil, err
	}
	l.Mappings = readMappings(types)
	l.Modules = readModules(types)
	return l, nil
}

func offsets(types *btf.Types, want map[*uint64][2]string) error {
	for to, of := range want {
		var err error
		if *to, err = types.Offset(of[0], of[1]); err != nil {
			return err
		}
	}
	return nil
}

// readMappings is nil for a kernel that has something else.
func readMappings(types *btf.Types) *MappingLayout {
	l := &MappingLayout{}
	want := map[*uint64][2]string{
		&l.Memory: {"task_struct", "mm"},
		&l.Start:  {"vm_area_struct", "vm_start"},
		&l.End:    {"vm_area_struct", "vm_end"},
		&l.Page:   {"vm_area_struct", "vm_pgoff"},
		&l.File:   {"vm_area_struct", "vm_file"},
		&l.Entry:  {"file", "f_path.dentry"},
		&l.Name:   {"dentry", "d_name.name"},
		&l.Parent: {"dentry", "d_parent"},
		&l.Areas:  {"mm_struct", "mm_mt.ma_root"},
	}
	if l.Tree = offsets(types, want) == nil; !l.Tree {
		want[&l.Areas] = [2]string{"mm_struct", "mmap"}
		want[&l.Next] = [2]string{"vm_area_struct", "vm_next"}
		if offsets(types, want) != nil {
			return nil
		}
	}
	m := &MountLayout{}
	if offsets(types, map[*uint64][2]string{
		&m.Mount:  {"file", "f_path.mnt"},
		&m.Root:   {"vfsmount", "mnt_root"},
		&m.Within: {"mount", "mnt"},
		&m.Parent: {"mount", "mnt_parent"},
		&m.Point:  {"mount", "mnt_mountpoint"},
	}) == nil {
		l.Mounts = m
	}
	return l
}
