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
	var known []string
	for ctx.Err() == nil {
		files := stampsOf(o.Paths, known) // also what was there: it may come again
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
		there := 0
		for _, s := range files {
			if s != (stamp{}) {
				there++
			}
		}
		known = slices.Collect(maps.Keys(files))
		fmt.Fprintf(o.Stderr, "watching %s; Ctrl-C ends\n", units.Count(there, "file"))
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

// goneFor is how often in succession a file has to be missing to be gone: editors
// take a file away and put another in its place.
const goneFor = 5

// wait returns when a file is another than it was, or is gone.
func (s stamps) wait(ctx context.Context, paths []string) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	missing := 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := stampsOf(paths, slices.Collect(maps.Keys(s)))
		gone := false
		for path, was := range s {
			gone = gone || was != stamp{} && now[path] == stamp{}
		}
		if missing++; !gone {
			missing = 0
		}
		if missing >= goneFor || !gone && !maps.Equal(s, now) {
			return
		}
	}
}
