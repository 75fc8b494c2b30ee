// Package agent is pid 1 of a guest: it brings the system up and then serves
// requests (package proto), or runs one script, or a shell on the console.
//
// What the guest is to do stands on the kernel's command line:
//
//	nvlab.epoch=SECONDS  set the wall clock
//	nvlab.modules=A,B    load these too, once the host serves files
//	nvlab.script=/PATH   run this program, print its exit status, power off
//	nvlab.shell          run a shell on /dev/ttyS0, power off when it ends
//	nvlab.term=NAME      TERM of that shell
//	nvlab.size=ROWSxCOLS size of its terminal
//
// Without script the agent opens the virtio-console port named proto.PortName;
// beside a shell it serves there, too. What goes wrong is one line on the console that begins with
// "nvlab-agent: ".
//
// A process that a request starts leads a session of its own. Its answer ends
// when the process itself ends, with all it wrote by then; children that it
// leaves in the background live on, and what they write to its standard output
// later is dropped. Cancel kills the whole process group.
package agent

import (
	"os"
	"strconv"
	"strings"
)

// modulesList names the modules to load, one absolute path a line. It also
// tells a guest of nvlab's from any other system.
const modulesList = "/etc/nvlab/modules"

// pciModulesList names those to load before on a machine with a PCI bus.
const pciModulesList = "/etc/nvlab/modules.pci"

// options are the agent's part of the kernel's command line.
type options struct {
	epoch      int64  // 0 if not given
	modules    string // separated by commas
	script     string
	shell      bool
	term       string
	rows, cols uint16
}

// parseOptions reads a kernel command line. What is not the agent's is passed
// over; a bad value counts as not given.
func parseOptions(cmdline string) options {
	o := options{term: "vt220"}
	for _, word := range strings.Fields(cmdline) {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "nvlab.epoch":
			if n, err := strconv.ParseInt(value, 10, 64); err == nil && n > 0 {
				o.epoch = n
			}
		case "nvlab.modules":
			o.modules = value
		case "nvlab.script":
			o.script = value
		case "nvlab.shell":
			o.shell = true
		case "nvlab.term":
			o.term = value
		case "nvlab.size":
			r, c, _ := strings.Cut(value, "x")
			rows, err1 := strconv.ParseUint(r, 10, 16)
			cols, err2 := strconv.ParseUint(c, 10, 16)
			if err1 == nil && err2 == nil {
				o.rows, o.cols = uint16(rows), uint16(cols)
			}
		}
	}
	return o
}

// InGuest reports whether this process is pid 1 of a guest of nvlab's. In a
// container nvlab may be pid 1 too, but not as /init.
func InGuest() bool {
	if os.Getpid() != 1 || len(os.Args) == 0 || os.Args[0] != "/init" {
		return false
	}
	_, err := os.Stat(modulesList)
	return err == nil
}
