package lab

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"nvlab/guest/introspect"
	"nvlab/guest/klog"
)

// A kernelLog is what the kernel of one boot logged, read from its memory. It is
// the witness of faults: it has what no console shows, and tells the kernel's
// words from those of programs.
type kernelLog struct {
	log  *klog.Log
	none bool // this kernel's log cannot be read

	watch faultWatch
	tail  []string // its last lines, or those about the fault
	lost  bool     // some were overwritten before they could be read
}

const beforeFault = 5 // lines of tail

// in is the log of a guest that is a copy of this one, in its memory; nil for
// what is kept in a snapshot.
func (k *kernelLog) in(mem klog.Memory) kernelLog {
	c := *k
	c.watch = k.watch.save()
	c.tail = slices.Clone(k.tail)
	if k.log != nil {
		c.log = k.log.In(mem, translateIn(mem))
	}
	return c
}

func translateIn(mem klog.Memory) klog.Translate {
	return func(root, addr uint64) (uint64, bool) { return introspect.Translate(mem, root, addr) }
}

// readLog reads on in the kernel's log, if the kernel has one by now.
func (v *VM) readLog() {
	k := &v.klog
	if v.m == nil || k.none {
		return
	}
	if k.log == nil {
		if k.log = v.findLog(); k.log == nil {
			return
		}
	}
	lost, err := k.log.Read(func(r klog.Record) {
		for text := range strings.SplitSeq(r.Text, "\n") {
			k.tail = append(k.tail, fmt.Sprintf("[%5d.%06d] %s", r.Time/1e9, r.Time/1e3%1e6, text))
			if r.Kernel() && !aboutProcess.MatchString(text) {
				k.watch.line(text)
			}
			// Of a fault the first lines say most.
			if k.watch.fault == nil {
				k.tail = k.tail[max(0, len(k.tail)-beforeFault):]
			}
		}
		k.tail = k.tail[:min(len(k.tail), tailLines)]
	})
	k.lost = k.lost || lost
	// A format that is not known, or what a kernel left that wrote over its own
	// memory: its console must do.
	k.none = err != nil && k.watch.fault == nil
}

// fault is what the kernel told of itself in this boot. Where its log can be
// read, the console counts for nothing: any program may write to that.
func (v *VM) fault() *kernelFault {
	v.readLog()
	if v.klog.log != nil && !v.klog.none {
		return v.klog.watch.fault
	}
	return v.console.watch.fault
}

// Bits of /proc/sys/kernel/tainted that stand for faults that faultMarks has
// (Linux Documentation/admin-guide/tainted-kernels.rst).
const taintFault = 1<<5 | 1<<7 | 1<<14 // bad page, oops or BUG, soft lockup

// lostFault asks the kernel itself where its log was overwritten before it could
// be read.
func (v *VM) lostFault(ctx context.Context) error {
	if !v.klog.lost || v.opts.AllowOops {
		return nil
	}
	v.klog.lost = false
	text, err := v.ReadFile(ctx, "/proc/sys/kernel/tainted")
	if err != nil {
		return err
	}
	if taint, _ := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64); taint&taintFault != 0 {
		v.klog.watch.fault = &kernelFault{line: fmt.Sprintf("what it said of it was overwritten in its log (/proc/sys/kernel/tainted is %d)", taint), complete: true}
	}
	return v.oops()
}

// lastMessages are the last lines of the console, or of the log if that has a
// fault of which the console was not told.
func (v *VM) lastMessages() string {
	if v.klog.watch.fault != nil && v.console.watch.fault == nil {
		return "(from the kernel's log in the guest's memory: the console was not told)\n" + strings.Join(v.klog.tail, "\n")
	}
	return v.console.tail(tailLines)
}

// findLog looks for the kernel's description of its log: where the last boot of
// this kernel had it, or at every page.
func (v *VM) findLog() *klog.Log {
	ram := v.m.Memory()
	translate := translateIn(ram)
	if log := klog.At(ram, translate, v.image.note.Load()); log != nil {
		return log
	}
	for _, r := range ram.Touched() {
		for at := r.Base; at < r.End(); at += klog.NoteAlign {
			if log := klog.At(ram, translate, at); log != nil {
				v.image.note.Store(at)
				return log
			}
		}
	}
	return nil
}
