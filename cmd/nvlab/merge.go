package main

import (
	"context"
	"os"

	nvrun "nvlab/starlark/run"
)

var mergeCommand = &command{
	name:  "merge",
	args:  "[flags] JSON...",
	short: "join what the shards of a run wrote",
	long: `Reads the streams that nvlab run -json --shard=I/N wrote, one file for each shard,
and reports as one run of all would have. The exit status is that run's. If a shard
is missing, is there twice, did not end or is of another run, it says which, and
the status is 2.`,
}

func init() {
	mergeCommand.run = func(ctx context.Context, c *command, args []string) int {
		o := nvrun.Options{Stdout: os.Stdout, Stderr: os.Stderr}
		fs := c.flags()
		fs.BoolVar(&o.Verbose, "v", false, "show all tests and what they log")
		fs.BoolVar(&o.JSON, "json", false, "write the events of go test -json")
		fs.StringVar(&o.JUnit, "junit", "", "write a JUnit report to `FILE`")
		fs.StringVar(&o.KTAP, "ktap", "", "write the kernel's KTAP to `FILE`")
		fs.StringVar(&o.KCIDB, "kcidb", "", "write a report for the kernel's KCIDB to `FILE`: docs/ci.md")
		fs.StringVar(&o.Origin, "kcidb-origin", "", "the `NAME` by which KCIDB knows whose report it is")
		fs.StringVar(&o.HTML, "html", "", "write a report to `FILE`, a page that needs nothing else")
		files, status, ok := c.parse(fs, args)
		switch {
		case !ok:
			return status
		case len(files) == 0:
			return c.misused("of what? want the files that the shards wrote with -json")
		}
		return nvrun.Merge(files, o)
	}
}
