package main

import (
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

func init() { programs["nvlab-noexec"] = noexec }

// noexec is nvlab where the host lets no program make memory executable, as
// hardened containers and services do.
func noexec() {
	if err := refuseExec(); err != nil {
		fmt.Fprintln(os.Stderr, "nvlab-noexec:", err)
		os.Exit(99)
	}
	main()
}

// refuseExec has mmap and mprotect fail with EACCES if they ask for PROT_EXEC,
// in all threads from here on. seccomp(2); Linux, include/uapi/linux/filter.h
// and seccomp.h: struct seccomp_data has the number at 0 and the third argument
// at 32.
func refuseExec() error {
	load := func(at uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at}
	}
	jump := func(op uint16, k uint32, yes, no uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_K | op, K: k, Jt: yes, Jf: no}
	}
	ret := func(k uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: k}
	}
	filter := []unix.SockFilter{
		load(0),
		jump(unix.BPF_JEQ, unix.SYS_MMAP, 1, 0),
		jump(unix.BPF_JEQ, unix.SYS_MPROTECT, 0, 3),
		load(32),
		jump(unix.BPF_JSET, unix.PROT_EXEC, 0, 1),
		ret(unix.SECCOMP_RET_ERRNO | uint32(unix.EACCES)),
		ret(unix.SECCOMP_RET_ALLOW),
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no_new_privs: %w", err)
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog))); errno != 0 {
		return fmt.Errorf("seccomp: %w", errno)
	}
	return nil
}
