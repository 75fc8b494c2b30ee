package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
)

var versionCommand = &command{
	name:  "version",
	args:  "",
	short: "print the version",
	long:  "Prints the version of nvlab and of the Go that built it.",
}

func init() {
	versionCommand.run = func(ctx context.Context, c *command, args []string) int {
		operands, status, ok := c.parse(c.flags(), args)
		if !ok {
			return status
		}
		if len(operands) > 0 {
			return c.misused("it takes no arguments")
		}
		fmt.Fprintf(stdout, "nvlab %s %s %s/%s\n", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
		return exitOK
	}
}

// release is the version of a release: the linker puts it here.
var release string

// version is what the build says of itself: a release's or a module's version, or
// a revision.
func version() string {
	if release != "" {
		return release
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := info.Main.Version
	if v == "" || v == "(devel)" {
		v = "devel"
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				v += "-" + s.Value[:min(12, len(s.Value))]
			}
		}
	}
	return v
}
