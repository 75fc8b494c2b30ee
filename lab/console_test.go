package lab

import (
	"strings"
	"testing"
)

func TestConsoleFindsKernelFaults(t *testing.T) {
	tests := []struct {
		name, text, fault string
		fatal             bool
	}{
		{"a clean boot", "[    0.000000] Linux version 6.1.0\r\n[    0.1] nfit ACPI0012:00: probed\r\n", "", false},
		{"a user's crash is no fault of the kernel", "[    1.5] traps: dd[77] general protection fault ip:1 sp:2 error:0\n", "", false},
		{"a word within a line is none", "echo Kernel panic - not syncing\n", "", false},
		{"a null pointer", "[    2.0] BUG: kernel NULL pointer dereference, address: 0000000000000000\n", "BUG: kernel NULL pointer dereference, address: 0000000000000000", false},
		{"an oops", "[   12.345678] Oops: 0002 [#1] PREEMPT SMP NOPTI\n", "Oops: 0002 [#1] PREEMPT SMP NOPTI", false},
		{"a caller id in the stamp", "[   12.345678][   T77] Oops: 0002\n", "Oops: 0002", false},
		{"a panic that goes on", "[    3.0] Kernel panic - not syncing: sysrq triggered crash\n", "Kernel panic - not syncing: sysrq triggered crash", false},
		{"a panic to its end", "[    3.0] Kernel panic - not syncing: x\n[    3.1] ---[ end Kernel panic - not syncing: x ]---\n", "Kernel panic - not syncing: x", true},
		{"a trap by its error code", "[    0.5] segment-related general protection fault: 0008 [#1] PREEMPT SMP NOPTI\n", "segment-related general protection fault: 0008 [#1] PREEMPT SMP NOPTI", false},
		{"the first fault counts", "[    3.0] BUG: one\n[    3.1] Oops: two\n", "BUG: one", false},
		{"a hung task", "[  120.0] INFO: task dd:77 blocked for more than 120 seconds.\n", "INFO: task dd:77 blocked for more than 120 seconds.", false},
		{"an unfinished line waits", "[    3.0] BUG: one", "", false},
	}
	for _, test := range tests {
		for _, step := range []int{1, 7, len(test.text)} {
			var c console
			for text := test.text; text != ""; {
				n := min(step, len(text))
				c.Write([]byte(text[:n]))
				text = text[n:]
			}
			fault, fatal := "", false
			if c.watch.fault != nil {
				fault, fatal = c.watch.fault.line, c.watch.fault.fatal
			}
			if fault != test.fault || fatal != test.fatal {
				t.Errorf("%s, in writes of %d bytes: fault %q, fatal %v; want %q, %v", test.name, step, fault, fatal, test.fault, test.fatal)
			}
		}
	}
}

func TestConsoleIsBounded(t *testing.T) {
	var c console
	line := []byte(strings.Repeat("x", 1<<20-1) + "\n")
	for range 20 {
		c.Write(line)
	}
	c.Write([]byte("BUG: after the end\n"))
	if len(c.text) != consoleLimit {
		t.Errorf("after 20 MiB the console holds %d bytes, want %d", len(c.text), consoleLimit)
	}
	if !strings.Contains(c.String(), "the console is cut here") {
		t.Error("a console that was cut does not say so")
	}
}

func TestConsoleTail(t *testing.T) {
	c := console{text: []byte("one\r\ntwo\r\nthree\r\n")}
	if got, want := c.tail(2), "two\nthree"; got != want {
		t.Errorf("tail(2) = %q, want %q", got, want)
	}
	if got, want := c.tail(9), "one\ntwo\nthree"; got != want {
		t.Errorf("tail(9) = %q, want %q", got, want)
	}
}
