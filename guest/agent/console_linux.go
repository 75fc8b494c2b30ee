package agent

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// runScript runs one program on the console and powers off.
func runScript(p *processes, opt options) error {
	null, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	_, exited, err := p.start([]string{opt.script}, &syscall.ProcAttr{
		Dir: "/", Env: os.Environ(),
		Files: []uintptr{uintptr(null), 1, 2},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return err
	}
	status := <-exited
	if status.Signaled() {
		fmt.Fprintf(os.Stderr, "nvlab-agent: script %s ended by signal %d\n", opt.script, status.Signal())
	} else {
		fmt.Fprintf(os.Stderr, "nvlab-agent: script %s ended with status %d\n", opt.script, status.ExitStatus())
	}
	return p.shutdown(false, func() {})
}

// runShell gives the serial console to a shell and powers off after it.
func runShell(p *processes, opt options) error {
	tty, err := unix.Open("/dev/ttyS0", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("cannot open /dev/ttyS0: %w", err)
	}
	if opt.rows > 0 && opt.cols > 0 {
		unix.IoctlSetWinsize(tty, unix.TIOCSWINSZ, &unix.Winsize{Row: opt.rows, Col: opt.cols})
	}
	// Who types does not want the kernel's chatter in between: warnings and
	// worse only (syslog(2), SYSLOG_ACTION_CONSOLE_LEVEL).
	unix.Klogctl(8, make([]byte, 5))
	env := append(os.Environ(), "TERM="+opt.term, `PS1=\w # `)
	_, exited, err := p.start([]string{"sh", "-i"}, &syscall.ProcAttr{
		Dir: "/root", Env: env,
		Files: []uintptr{uintptr(tty), uintptr(tty), uintptr(tty)},
		Sys:   &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0},
	})
	if err != nil {
		return err
	}
	<-exited
	return p.shutdown(false, func() {})
}
