package main

import (
	"os"

	"golang.org/x/term"
)

// screen is what the standard streams can show: the size of the standard error, if lines can
// be drawn there again, and whether the standard output may have colours
// (https://no-color.org).
func screen() (size func() (rows, cols int), coloured bool) {
	if name := os.Getenv("TERM"); name == "" || name == "dumb" {
		return nil, false
	}
	if term.IsTerminal(int(os.Stderr.Fd())) {
		size = func() (rows, cols int) {
			cols, rows, _ = term.GetSize(int(os.Stderr.Fd()))
			return rows, cols
		}
	}
	return size, term.IsTerminal(int(os.Stdout.Fd())) && os.Getenv("NO_COLOR") == ""
}
