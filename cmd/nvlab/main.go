// Command nvlab tests persistent memory: it runs scenarios on virtual machines
// with virtual NVDIMMs. As pid 1 of a guest it is the guest's agent.
package main

import (
	"os"

	"nvlab/guest/agent"
)

func main() {
	if os.Getpid() == 1 {
		agent.Main()
	}
	os.Exit(run(os.Args[1:]))
}
