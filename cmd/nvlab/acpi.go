package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"nvlab/acpi"
	nvstar "nvlab/starlark"
)

var acpiCommand = &command{
	name:  "acpi",
	args:  "FILE...",
	short: "decode ACPI tables",
	long: `Decodes the ACPI tables in files, - for the standard input: definition blocks as
ASL, other tables field by field. A file may hold several tables. Exit status 1
says that a table is malformed; what can be read of it is shown.`,
}

func init() {
	acpiCommand.run = func(ctx context.Context, c *command, args []string) int {
		files, status, ok := c.parse(c.flags(), args)
		switch {
		case !ok:
			return status
		case len(files) == 0:
			return c.misused("which file?")
		}
		for _, file := range files {
			err := decodeTables(ctx, file)
			if errors.Is(err, nvstar.ErrInterrupted) {
				return c.failed(ctx, status, err)
			}
			if err != nil {
				fmt.Fprintf(os.Stderr, "nvlab acpi: %s: %v\n", file, err)
				status = exitFail
			}
		}
		return status
	}
}

// tablesLimit is more than any firmware has: 64 MiB.
const tablesLimit = 64 << 20

// decodeTables prints the tables of a file. The error is the first of what is
// wrong with them.
func decodeTables(ctx context.Context, file string) error {
	data, err := waitFor(ctx, func() ([]byte, error) { return readLimited(file, tablesLimit) })
	if err != nil {
		return err
	}
	if len(data) == 0 {
		return fmt.Errorf("the file is empty: want ACPI tables")
	}
	tables, first := acpi.Split(data)
	for _, table := range tables {
		text, err := acpi.Decode(table)
		fmt.Fprint(stdout, text)
		if first == nil {
			first = err
		}
		for _, err := range acpi.Check(table) {
			fmt.Fprintf(stdout, "// %v\n", err)
			if first == nil {
				first = err
			}
		}
		fmt.Fprintln(stdout)
	}
	return first
}

// readLimited reads a file, - for the standard input, of at most so many
// bytes.
func readLimited(file string, limit int64) ([]byte, error) {
	in := os.Stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, pathless(err)
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, limit+1))
	if err != nil {
		return nil, pathless(err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("the file has more than %d bytes", limit)
	}
	return data, nil
}
