package main

import (
	"context"
	"fmt"
	"os"

	nvstar "nvlab/starlark"
)

var docCommand = &command{
	name:  "doc",
	args:  "[NAME]",
	short: "explain the scenario language",
	long:  "Explains the scenario language, or one name of it, such as vm, vm.plug or check.eq.",
}

func init() {
	docCommand.run = func(ctx context.Context, c *command, args []string) int {
		names, status, ok := c.parse(c.flags(), args)
		switch {
		case !ok:
			return status
		case len(names) > 1:
			return c.misused("one name at a time")
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
