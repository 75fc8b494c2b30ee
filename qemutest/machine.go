package qemutest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"nvlab/guest/proto"
)

// A Machine is a QEMU process whose guest's agent answers.
type Machine struct {
	dir     string
	process *exec.Cmd
	ended   chan struct{} // closed after the process
	err     error         // of the process; valid then
	agent   *os.File
	control *os.File
	qmp     *qmp
	client  proto.Client
}

// Start runs QEMU and waits for the agent. The process dies with ctx.
func Start(ctx context.Context, o Options) (_ *Machine, err error) {
	dir, err := os.MkdirTemp("", "qemu")
	if err != nil {
		return nil, err
	}
	m := &Machine{dir: dir, ended: make(chan struct{}), client: proto.Client{Files: o.Files}}
	defer func() {
		if err != nil {
			m.Close()
		}
	}()
	if err := m.launch(ctx, o); err != nil {
		return nil, err
	}
	if m.qmp, err = newQMP(m.control); err != nil {
		return nil, m.failure(err)
	}
	err = m.feed(bootTime, func() bool { _, ok := m.client.Hello(); return ok })
	return m, err
}

// launch starts the process, with the agent's port as its descriptor 3 and
// QMP as 4.
func (m *Machine) launch(ctx context.Context, o Options) error {
	args := append(o.args(),
		"-serial", "file:"+m.consolePath(),
		"-device", "virtio-serial-pci", "-chardev", "socket,id=agent,fd=3",
		"-device", "virtserialport,chardev=agent,name="+proto.PortName,
		"-chardev", "socket,id=qmp,fd=4", "-mon", "chardev=qmp,mode=control",
	)
	process := exec.CommandContext(ctx, Program, args...)
	stderr, err := os.Create(m.stderrPath())
	if err != nil {
		return err
	}
	defer stderr.Close()
	process.Stderr = stderr
	for _, end := range []**os.File{&m.agent, &m.control} {
		ours, theirs, err := socketPair(m.dir)
		if err != nil {
			return err
		}
		defer theirs.Close()
		*end = ours
		process.ExtraFiles = append(process.ExtraFiles, theirs)
	}
	if err := process.Start(); err != nil {
		return err
	}
	m.process = process
	go func() {
		m.err = process.Wait()
		close(m.ended)
	}()
	return nil
}

// Wall time, on a machine that others use as well.
const (
	bootTime    = 2 * time.Minute
	commandTime = time.Minute
)

func (m *Machine) consolePath() string { return filepath.Join(m.dir, "console") }
func (m *Machine) stderrPath() string  { return filepath.Join(m.dir, "stderr") }

// Console is what the guest printed on its serial port so far.
func (m *Machine) Console() string {
	text, _ := os.ReadFile(m.consolePath())
	return string(text)
}

// failure adds what QEMU and the guest said, and how QEMU ended if it did.
func (m *Machine) failure(err error) error {
	select {
	case <-m.ended:
		err = fmt.Errorf("QEMU ended (%v): %w", m.err, err)
	case <-time.After(time.Second):
	}
	stderr, _ := os.ReadFile(m.stderrPath())
	console := m.Console()
	return fmt.Errorf("%w\n%s%s", err, stderr, console[max(0, len(console)-4096):])
}

// feed reads from the agent until done holds.
func (m *Machine) feed(limit time.Duration, done func() bool) error {
	if err := m.agent.SetReadDeadline(time.Now().Add(limit)); err != nil {
		return m.failure(err)
	}
	buf := make([]byte, 64<<10)
	for !done() {
		n, err := m.agent.Read(buf)
		if err == nil {
			err = m.client.Feed(buf[:n])
		}
		if out := m.client.Outgoing(); err == nil && len(out) > 0 {
			_, err = m.agent.Write(out)
		}
		if err != nil {
			return m.failure(fmt.Errorf("waiting for the guest's agent: %w", err))
		}
	}
	return nil
}

func (m *Machine) call(r proto.Request) (*proto.Result, error) {
	id, send, err := m.client.Start(r)
	if err != nil {
		return nil, err
	}
	if _, err := m.agent.Write(send); err != nil {
		return nil, m.failure(err)
	}
	var answer *proto.Result
	err = m.feed(commandTime, func() bool {
		r, ok := m.client.Result(id)
		if ok {
			answer = r
		}
		return ok
	})
	if err != nil {
		return nil, err
	}
	return answer, answer.Err
}

// Run runs a command under sh -c, and gives its status and its output.
func (m *Machine) Run(command string) (status int, stdout, stderr string, err error) {
	r, err := m.call(proto.Shell(command))
	if err != nil {
		return 0, "", "", fmt.Errorf("%s: %w", command, err)
	}
	return r.Exit.Code, string(r.Stdout), string(r.Stderr), nil
}

// ReadFile reads a whole file of the guest.
func (m *Machine) ReadFile(path string) ([]byte, error) {
	r, err := m.call(proto.ReadPath{Path: path})
	if err != nil {
		return nil, err
	}
	return r.Data, nil
}

// Plug adds a DIMM to the running machine: object_add and device_add.
func (m *Machine) Plug(d DIMM) error {
	if err := m.qmp.command("object-add", d.backend(), nil); err != nil {
		return err
	}
	return m.qmp.command("device_add", d.device(), nil)
}

// A MemoryDevice is what query-memory-devices says of a DIMM.
type MemoryDevice struct {
	ID         string
	Addr, Size uint64
	Slot, Node int
	HotPlugged bool // encoding/json matches names without regard to case
}

// MemoryDevices lists what is plugged.
func (m *Machine) MemoryDevices() ([]MemoryDevice, error) {
	var list []struct {
		Type string
		Data MemoryDevice
	}
	if err := m.qmp.command("query-memory-devices", nil, &list); err != nil {
		return nil, err
	}
	var devices []MemoryDevice
	for _, d := range list {
		if d.Type != "virtio-pmem" { // which is in no slot
			devices = append(devices, d.Data)
		}
	}
	return devices, nil
}

// PowerOff asks the guest to end, and waits for QEMU to do so.
func (m *Machine) PowerOff() error {
	_, send, err := m.client.Start(proto.Poweroff{})
	if err != nil {
		return err
	}
	if _, err := m.agent.Write(send); err != nil {
		return m.failure(err)
	}
	select {
	case <-m.ended:
		return m.err
	case <-time.After(commandTime):
		return m.failure(errors.New("the guest was asked to power off, and QEMU still runs"))
	}
}

// Close kills QEMU, if it still runs, and removes its files.
func (m *Machine) Close() error {
	if m.process != nil {
		m.process.Process.Kill()
		<-m.ended
	}
	m.agent.Close()
	m.control.Close()
	return os.RemoveAll(m.dir)
}
