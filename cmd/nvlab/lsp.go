package main

import (
	"context"
	"os"

	"nvlab/starlark/lsp"
)

var lspCommand = &command{
	name:  "lsp",
	short: "serve an editor, over the standard input and output",
	long: `Speaks the Language Server Protocol over the standard input and output, for
editors: completion, signatures, hover, diagnostics, definitions, symbols, layout.`,
}

func init() {
	lspCommand.run = func(ctx context.Context, c *command, args []string) int {
		fs := c.flags()
		fs.Bool("stdio", true, "as editors pass it; there is no other way")
		rest, status, ok := c.parse(fs, args)
		switch {
		case !ok:
			return status
		case len(rest) > 0:
			return c.misused("it takes no arguments")
		}
		_, err := waitFor(ctx, func() (struct{}, error) { return struct{}{}, lsp.Serve(ctx, os.Stdin, stdout) })
		if err != nil {
			return c.failed(ctx, exitFail, err)
		}
		return exitOK
	}
}
