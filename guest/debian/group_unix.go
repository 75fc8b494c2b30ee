//go:build unix

package debian

import (
	"os/exec"
	"syscall"
)

// ownGroup puts cmd and its children in a process group of their own, which a
// cancelled context ends as a whole. A Ctrl-C of the terminal reaches it only
// that way.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
}
