package run

import (
	"fmt"

	"nvlab/lab"
	nvstar "nvlab/starlark"
)

// listenGDB is where gdb comes to. When gdb ends the run, that is an interrupt.
func (r *runner) listenGDB() (*lab.GDB, error) {
	var g *lab.GDB
	waits := func(noSymbols error) {
		if noSymbols != nil {
			fmt.Fprintf(r.o.Stderr, "gdb will have no symbols: %v\n", noSymbols)
		}
		fmt.Fprintf(r.o.Stderr, "waiting for gdb: gdb -ex 'target remote %s'\n", g.Addr())
	}
	g, err := lab.ListenGDB(r.o.GDB, waits, func() { r.quit(nvstar.ErrInterrupted) })
	if err != nil {
		return nil, fmt.Errorf("-gdb: %w", err)
	}
	return g, nil
}
