package lab

import (
	"regexp"
	"slices"
	"strings"
)

// faultMarks are how Linux begins to tell of a fault that fails a test
// (kernel/panic.c, arch/x86/mm/fault.c, arch/x86/kernel/traps.c, lib/bug.c,
// kernel/watchdog.c, kernel/hung_task.c, kernel/rcu/tree_stall.h).
var faultMarks = []string{
	"BUG: ",
	"kernel BUG at ",
	"Oops: ",
	"general protection fault",
	"Kernel panic - not syncing",
	"watchdog: BUG: soft lockup",
	"INFO: task ",
	"rcu: INFO: ",
	"Unable to handle ",
}

// A kernelFault is a panic, an oops or a lockup, as the kernel told of it.
type kernelFault struct {
	line     string
	complete bool // the kernel said all of it
	fatal    bool // and that it stops
}

// A faultWatch looks for a fault in what a kernel says, a line at a time.
type faultWatch struct{ fault *kernelFault }

// save returns what the watch has seen up to now.
func (w faultWatch) save() faultWatch {
	if w.fault != nil {
		fault := *w.fault
		w.fault = &fault
	}
	return w
}

func (w *faultWatch) line(text string) {
	panicked := strings.HasPrefix(text, "---[ end Kernel panic")
	switch {
	case w.fault != nil:
		w.fault.fatal = w.fault.fatal || panicked
		w.fault.complete = w.fault.complete || panicked || strings.HasPrefix(text, "---[ end trace ")
	case hasMark(text) || dieLine.MatchString(text):
		w.fault = &kernelFault{line: text}
	}
}

func hasMark(text string) bool {
	return slices.ContainsFunc(faultMarks, func(mark string) bool { return strings.HasPrefix(text, mark) })
}

// dieLine is how every trap that kills in the kernel ends its first line: the
// error code and the count of such events (arch/x86/kernel/dumpstack.c).
var dieLine = regexp.MustCompile(`: [0-9a-f]{4} \[#[0-9]+\]`)

// aboutProcess is how the kernel begins what it says of a process: with a name
// that the process chose itself, and its number (fs/drop_caches.c,
// arch/x86/mm/fault.c).
var aboutProcess = regexp.MustCompile(`^.{1,15}(\[[0-9]+\]| \([0-9]+\))[: ]`)
