package run

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"nvlab/internal/units"
	nvstar "nvlab/starlark"
)

// watchEvery is how often files are looked at.
const watchEvery = 200 * time.Millisecond

// Watch runs scenarios as Run does, and again each time one of them or of what
// they load has changed, or there is another one, until ctx is done. It returns
// the status of an interrupted run.
func Watch(ctx context.Context, o Options) int {
	for ctx.Err() == nil {
		files := stampsOf(o.Paths, nil)
		o.Loaded = func(paths []string) {
			for _, path := range paths {
				if _, known := files[path]; !known {
					files[path] = stampOf(path)
				}
			}
		}
		Run(ctx, o)
		if ctx.Err() != nil {
			break
		}
		fmt.Fprintf(o.Stderr, "watching %s; Ctrl-C ends\n", units.Count(len(files), "file"))
		files.wait(ctx, o.Paths)
	}
	return nvstar.Interrupted.Exit()
}

// A stamp tells a file from what it was.
type stamp struct {
	changed time.Time
	size    int64
}

// stamps are those of files, by path; of a file that is not there the zero one.
type stamps map[string]stamp

func stampOf(path string) stamp {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{}
	}
	return stamp{info.ModTime(), info.Size()}
}

// stampsOf are the stamps of the scenarios that paths name, and of more files.
func stampsOf(paths []string, more []string) stamps {
	s := stamps{}
	scenarios, err := Discover(paths)
	if err != nil {
		scenarios = paths
	}
	for _, path := range slices.Concat(scenarios, more) {
		s[path] = stampOf(path)
	}
	return s
}

// wait returns when a file is another than it was. Editors take a file away and
// put another in its place: one that is gone has not changed yet.
func (s stamps) wait(ctx context.Context, paths []string) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := stampsOf(paths, slices.Collect(maps.Keys(s)))
		if !maps.Equal(s, now) && !slices.Contains(slices.Collect(maps.Values(now)), stamp{}) {
			return
		}
	}
}
