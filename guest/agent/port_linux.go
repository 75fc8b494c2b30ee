package agent

import (
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"nvlab/guest/proto"
)

const portsDir = "/sys/class/virtio-ports"

// findPort returns the device of the agent's port, or "".
func findPort() string {
	entries, err := os.ReadDir(portsDir)
	if err != nil {
		return ""
	}
	for _, e := range entries {
		name, err := os.ReadFile(portsDir + "/" + e.Name() + "/name")
		if err == nil && strings.TrimSpace(string(name)) == proto.PortName {
			return "/dev/" + e.Name()
		}
	}
	return ""
}

// openPort waits for the port: the driver learns of it from the device after
// it has probed.
func openPort(limit time.Duration) (*port, error) {
	pause := time.Millisecond
	for start := time.Now(); time.Since(start) < limit; time.Sleep(pause) {
		if dev := findPort(); dev != "" {
			fd, err := unix.Open(dev, unix.O_RDWR|unix.O_CLOEXEC, 0)
			if err == nil {
				return &port{fd}, nil
			}
			if err != unix.ENOENT && err != unix.EBUSY {
				return nil, fmt.Errorf("cannot open %s: %w", dev, err)
			}
		}
		pause = min(2*pause, 50*time.Millisecond)
	}
	return nil, fmt.Errorf("no virtio-console port named %s appeared in %v", proto.PortName, limit)
}

// port is a blocking byte stream. It is a plain descriptor, not an *os.File:
// virtio_console returns 0 from read while the host has not opened its side,
// which is no end of file.
type port struct{ fd int }

func (p *port) Read(b []byte) (int, error) {
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		n, err := unix.Read(p.fd, b)
		switch {
		case err == unix.EINTR || err == unix.EAGAIN:
		case err != nil:
			return 0, err
		case n > 0:
			return n, nil
		}
		time.Sleep(pause)
	}
}

func (p *port) Write(b []byte) (int, error) {
	done := 0
	for done < len(b) {
		n, err := unix.Write(p.fd, b[done:])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return done, err
		}
		done += n
	}
	return done, nil
}
