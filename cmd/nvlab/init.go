package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	nvrun "nvlab/starlark/run"
)

var initCommand = &command{
	name:  "init",
	args:  "[FILE]",
	short: "write a first scenario to begin from",
	long: `Writes a scenario with tests that pass, to begin from: FILE, or first.star if not
given. It replaces no file.`,
}

//go:embed init.star
var firstScenario string

func init() {
	initCommand.run = func(ctx context.Context, c *command, args []string) int {
		paths, status, ok := c.parse(c.flags(), args)
		switch {
		case !ok:
			return status
		case len(paths) > 1:
			return c.misused("one file at a time")
		case len(paths) == 0:
			paths = []string{"first.star"}
		}
		path := paths[0]
		if filepath.Ext(path) != ".star" {
			return c.misused("%s: the name of a scenario ends in .star", path)
		}
		f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
		if errors.Is(err, fs.ErrExist) {
			return c.failed(ctx, exitUsage, fmt.Errorf("%s is there already", path))
		}
		if err == nil {
			_, err = f.WriteString(firstScenario)
			if closed := f.Close(); err == nil {
				err = closed
			}
		}
		if err != nil {
			return c.failed(ctx, exitHost, err)
		}
		fmt.Fprintf(stdout, "%s is written; run it with\n\n  nvlab run %s\n", path, nvrun.ShellQuote(path))
		return exitOK
	}
}
