package agent

import (
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// shutdown ends all processes, unmounts, calls answer, and powers off or
// resets. It returns only if the kernel refuses.
func (p *processes) shutdown(reboot bool, answer func()) error {
	if os.Getpid() != 1 {
		return fmt.Errorf("process %d is not pid 1 and must not end all others", os.Getpid())
	}
	p.mu.Lock()
	again := p.stopping
	p.stopping = true
	p.mu.Unlock()
	if again {
		return fmt.Errorf("the guest is shutting down already")
	}
	for _, sig := range []unix.Signal{unix.SIGTERM, unix.SIGKILL} {
		if unix.Kill(-1, sig) == unix.ESRCH {
			break
		}
		p.waitChildren(time.Second)
	}
	p.answers.Wait()
	unix.Sync()
	unmountAll()
	unix.Sync()
	answer()
	cmd := unix.LINUX_REBOOT_CMD_POWER_OFF
	if reboot {
		cmd = unix.LINUX_REBOOT_CMD_RESTART
	}
	if err := unix.Reboot(cmd); err != nil {
		return fmt.Errorf("the kernel refuses to power off: %w", err)
	}
	return nil
}

// waitChildren returns when no process but this one is left, or after limit.
func (p *processes) waitChildren(limit time.Duration) {
	// All processes are children of pid 1, or become so.
	for start := time.Now(); p.reap() && time.Since(start) < limit; time.Sleep(2 * time.Millisecond) {
	}
}

// unmountAll unmounts what is no part of the system, last first. What is busy
// becomes read-only.
func unmountAll() {
	b, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		f := strings.Fields(lines[i])
		if len(f) < 3 || ofSystem(f[1]) {
			continue
		}
		at := unescape(f[1])
		if unix.Unmount(at, 0) != nil {
			if err := unix.Mount("", at, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
				report(fmt.Errorf("cannot unmount %s: %v", at, err))
			}
		}
	}
}

func ofSystem(at string) bool {
	if at == "/" {
		return true
	}
	for _, m := range mounts {
		if at == m.at {
			return true
		}
	}
	return false
}

// unescape reverses the octal escapes of /proc/self/mounts.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}
