package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"nvlab/nvdimm/label"
	nvstar "nvlab/starlark"
)

var labelCommand = &command{
	name:  "label",
	args:  "[--label-size SIZE] FILE...",
	short: "decode the label area of a backend",
	long: `Decodes the label area at the end of a backend's file: index blocks and labels.
Without --label-size it is looked for at the sizes 128K, 256K, 512K and so on. A
file that is a label area and nothing else is read as well. Exit status 1 says
that there is no valid index block.`,
}

func init() {
	labelCommand.run = func(ctx context.Context, c *command, args []string) int {
		fs := c.flags()
		size := fs.String("label-size", "", "`SIZE` of the label area, such as 128K")
		files, status, ok := c.parse(fs, args)
		switch {
		case !ok:
			return status
		case len(files) == 0:
			return c.misused("which file?")
		}
		var want uint64
		if *size != "" {
			var err error
			if want, err = nvstar.ParseSize(*size); err != nil {
				return c.misused("--label-size %v", err)
			}
			if want < label.MinSize {
				return c.misused("--label-size %s: a label area has at least %d bytes (128K)", *size, label.MinSize)
			}
		}
		for _, file := range files {
			if len(files) > 1 {
				fmt.Fprintf(stdout, "%s:\n", file)
			}
			if err := printLabels(file, int64(want)); err != nil {
				fmt.Fprintf(os.Stderr, "nvlab label: %s: %v\n", file, err)
				status = exitFail
			}
		}
		return status
	}
}

// printLabels prints the area of that size at a file's end, or one that it
// finds if the size is 0.
func printLabels(file string, size int64) error {
	area, err := readLabels(file, size)
	if err != nil {
		return err
	}
	fmt.Fprint(stdout, area.Text())
	if area.Current < 0 {
		return errors.New("no index block is valid")
	}
	return nil
}

func readLabels(file string, size int64) (*label.Area, error) {
	f, err := os.OpenFile(file, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe's open waits for its writer
	if err != nil {
		return nil, pathless(err)
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, pathless(err)
	case info.IsDir():
		return nil, errors.New("it is a folder: want the file of a backend")
	case info.Mode()&(fs.ModeNamedPipe|fs.ModeSocket) != 0:
		return nil, errors.New("it is a pipe, and a label area is at the end of a file: want the file of a backend")
	case info.Size() < max(size, label.MinSize):
		return nil, fmt.Errorf("it has %d bytes, and a label area of %d bytes was to be at its end", info.Size(), max(size, label.MinSize))
	}
	read := func(size int64) (*label.Area, error) {
		data := make([]byte, size)
		if _, err := f.ReadAt(data, info.Size()-size); err != nil {
			return nil, pathless(err)
		}
		return label.Parse(data), nil
	}
	if size > 0 {
		return read(size)
	}
	for size = label.MinSize; size <= min(info.Size(), largestArea); size *= 2 {
		area, err := read(size)
		if err != nil || area.Current >= 0 {
			return area, err
		}
	}
	return nil, errors.New("no label area was found at its end: if there is one, give its size with --label-size")
}

// largestArea is the largest that is looked for: 64 MiB.
const largestArea = 64 << 20

// pathless is an error without the path, which the caller prints.
func pathless(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
