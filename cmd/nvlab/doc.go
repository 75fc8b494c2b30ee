package main

import (
	"context"
	"fmt"
	"os"

	nvstar "nvlab/starlark"
)

var docCommand = &command{
	name:  "doc",
	args:  "[-pyi] [NAME]",
	short: "explain the scenario language",
	long:  "Explains the scenario language, or one name of it, such as vm, vm.plug or check.eq.\nWith -pyi all of it is a stub file of Python's: nvlab doc -pyi >__builtins__.pyi.",
}

func init() {
	docCommand.run = func(ctx context.Context, c *command, args []string) int {
		fs := c.flags()
		stubs := fs.Bool("pyi", false, "write stubs for editors that know Python and no Starlark")
		names, status, ok := c.parse(fs, args)
		switch {
		case !ok:
			return status
		case len(names) > 1:
			return c.misused("one name at a time")
		case *stubs && len(names) > 0:
			return c.misused("-pyi is of all names")
		case *stubs:
			fmt.Fprint(stdout, nvstar.Stubs())
			return exitOK
		}
		name := ""
		if len(names) == 1 {
			name = names[0]
		}
		text, err := nvstar.Doc(name)
		if err != nil {
			fmt.Fprintf(os.Stderr, "nvlab doc: %v\n", err)
			return exitUsage
		}
		fmt.Fprint(stdout, text)
		return exitOK
	}
}
