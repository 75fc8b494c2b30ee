// Command nvlab-agent is pid 1 of nvlab's guests.
package main

import (
	"fmt"
	"os"

	"nvlab/guest/agent"
)

func main() {
	agent.Main()
	fmt.Fprintln(os.Stderr, "nvlab-agent: this program is pid 1 of nvlab's guests; see nvlab help")
	os.Exit(2)
}
