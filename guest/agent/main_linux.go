package agent

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Main is the agent, if this process is pid 1 of a guest, and never returns
// then. Otherwise it returns at once. A program that is a guest's agent calls
// it first of all.
func Main() {
	if !InGuest() {
		return
	}
	// The agent lives for seconds on a slow processor: memory is cheaper than
	// collecting it, up to a limit.
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(32 << 20)
	defer func() {
		if p := recover(); p != nil {
			die(fmt.Errorf("defect: %v", p))
		}
	}()
	if err := run(); err != nil {
		die(err)
	}
	die(fmt.Errorf("nothing left to do"))
}

func report(err error) { fmt.Fprintf(os.Stderr, "nvlab-agent: %v\n", err) }

// die ends a guest that is of no more use.
func die(err error) {
	report(err)
	unix.Sync()
	unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	// The kernel panics when pid 1 exits: it cannot be powered off.
	os.Exit(1)
}

func run() error {
	notes := setUp()
	cmdline, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return err
	}
	opt := parseOptions(string(cmdline))
	if opt.epoch != 0 {
		ts := unix.NsecToTimespec(opt.epoch * int64(time.Second))
		if err := unix.ClockSettime(unix.CLOCK_REALTIME, &ts); err != nil {
			notes = append(notes, fmt.Sprintf("cannot set the clock: %v", err))
		}
	}
	notes = append(notes, loadModules()...)
	notes = append(notes, waitProbe()...)
	for _, n := range notes {
		report(fmt.Errorf("%s", n))
	}
	procs := newProcesses()
	go procs.signals()
	if opt.script != "" {
		return runScript(procs, opt)
	}
	s, err := connect(procs, opt, notes)
	if err != nil && opt.shell {
		// A shell without the host's service is better than none.
		report(err)
		return runShell(procs, opt)
	}
	if err != nil {
		return err
	}
	if opt.shell {
		return runShell(procs, opt)
	}
	return <-s.ended
}

// connect opens the channel to the host, begins to serve it, and says hello.
// Files that the host keeps are within reach by then.
func connect(procs *processes, opt options, notes []string) (*server, error) {
	port, err := openPort(30 * time.Second)
	if err != nil {
		return nil, err
	}
	if err := reseed(); err != nil {
		notes = append(notes, err.Error())
	}
	s := newServer(port, procs)
	s.shutdown = procs.shutdown
	s.ended = make(chan error, 1)
	go func() { s.ended <- s.serve() }()
	if s.deferred, err = startDeferred(release(), s.fetch); err != nil {
		notes = append(notes, fmt.Sprintf("files that the host keeps: %v", err))
		report(err)
	}
	if opt.modules != "" {
		for _, n := range append(s.modprobe(strings.Split(opt.modules, ",")), waitProbe()...) {
			notes = append(notes, n)
			report(errors.New(n))
		}
	}
	if err := s.hello(release(), notes); err != nil {
		return nil, fmt.Errorf("cannot say hello: %w", err)
	}
	return s, nil
}

func release() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}
