package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"nvlab/starlark/format"
	nvrun "nvlab/starlark/run"
)

var fmtCommand = &command{
	name:  "fmt",
	args:  "[-check] FILE|DIR...|-",
	short: "lay scenarios out as buildifier does",
	long: `Lays scenarios out as buildifier does: files *.star, and those in folders. It names
those that it changes. - reads the standard input and writes the standard output.

exit status:
    0  all is laid out
    1  with -check, a file is not
    2  wrong usage, or a file that cannot be read`,
}

func init() {
	fmtCommand.run = func(ctx context.Context, c *command, args []string) int {
		fs := c.flags()
		check := fs.Bool("check", false, "change nothing; name the files that would change")
		paths, status, ok := c.parse(fs, args)
		switch {
		case !ok:
			return status
		case len(paths) == 0:
			return c.misused("which scenarios? want files *.star, folders, or - for the standard input")
		case len(paths) == 1 && paths[0] == "-":
			return fmtInput(ctx, c, *check)
		}
		files, err := nvrun.Discover(paths)
		if err != nil {
			return c.failed(ctx, exitUsage, err)
		}
		for _, path := range files {
			text, err := os.ReadFile(path)
			if err != nil {
				status = c.failed(ctx, exitUsage, err)
				continue
			}
			out, err := format.Source(path, text)
			switch {
			case err != nil:
				status = c.failed(ctx, exitUsage, err)
				continue
			case bytes.Equal(out, text):
				continue
			case *check:
				status = max(status, exitFail)
			default:
				if err := replaceFile(path, out); err != nil {
					return c.failed(ctx, exitHost, err)
				}
			}
			fmt.Fprintln(stdout, path)
		}
		return status
	}
}

func fmtInput(ctx context.Context, c *command, check bool) int {
	text, err := waitFor(ctx, func() ([]byte, error) { return io.ReadAll(os.Stdin) })
	if err != nil {
		return c.failed(ctx, exitHost, err)
	}
	out, err := format.Source("<stdin>", text)
	switch {
	case err != nil:
		return c.failed(ctx, exitUsage, err)
	case !check:
		stdout.Write(out)
	case !bytes.Equal(out, text):
		return exitFail
	}
	return exitOK
}

// replaceFile gives a file another content, whole or not at all.
func replaceFile(path string, text []byte) error {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(text)
	if err == nil {
		err = f.Chmod(info.Mode().Perm())
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	return err
}
