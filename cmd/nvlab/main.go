// Command nvlab tests persistent memory: it runs scenarios on virtual machines
// with virtual NVDIMMs.
package main

import "os"

func main() { os.Exit(run(os.Args[1:])) }
