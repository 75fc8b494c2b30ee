package run

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"nvlab/nvdimm/explore"
)

// shardSystems are what systems that run a job many times tell each of its
// tasks.
var shardSystems = []struct {
	name         string
	index, total string // variables
	first        string // that the index counts from: a number or a variable
	step         string // a variable that the index goes up by; "" for 1
	alone        bool   // a total of 1 comes without an index
}{
	{name: "Bazel", index: "TEST_SHARD_INDEX", total: "TEST_TOTAL_SHARDS", first: "0"},
	{name: "Slurm", index: "SLURM_ARRAY_TASK_ID", total: "SLURM_ARRAY_TASK_COUNT", first: "SLURM_ARRAY_TASK_MIN", step: "SLURM_ARRAY_TASK_STEP"},
	{name: "Kubernetes", index: "JOB_COMPLETION_INDEX", total: "NVLAB_SHARDS", first: "0"},
	{name: "GitLab", index: "CI_NODE_INDEX", total: "CI_NODE_TOTAL", first: "1", alone: true},
}

// ParseShard is the shard that --shard names or, if given is false, that the
// environment does; the zero Shard if neither does. What is said by half is an
// error: a task that takes itself for the only one would run everything, and the
// others would, too.
func ParseShard(text string, given bool, getenv func(string) (string, bool)) (explore.Shard, error) {
	if given {
		i, n, _ := strings.Cut(text, "/")
		index, err1 := strconv.Atoi(i)
		of, err2 := strconv.Atoi(n)
		switch {
		case err1 != nil || err2 != nil:
			return explore.Shard{}, fmt.Errorf("--shard %q: want I/N, two numbers: is a variable not set?", text)
		case index < 1 || index > of:
			return explore.Shard{}, fmt.Errorf("--shard %q: want I/N, with I from 1 to N", text)
		}
		return explore.Shard{Index: index, Of: of}, nil
	}
	var found explore.Shard
	by := ""
	for _, s := range shardSystems {
		index, hasIndex := getenv(s.index)
		total, hasTotal := getenv(s.total)
		if !hasIndex && !hasTotal || s.alone && !hasIndex && total == "1" {
			continue
		}
		first, step := s.first, "1"
		if _, err := strconv.Atoi(first); err != nil {
			first, _ = getenv(s.first)
		}
		if s.step != "" {
			if v, ok := getenv(s.step); ok {
				step = v
			}
		}
		numbers := [4]int{}
		for i, v := range []string{index, total, first, step} {
			n, err := strconv.Atoi(v)
			if err != nil {
				name := []string{s.index, s.total, s.first, s.step}[i]
				return explore.Shard{}, fmt.Errorf("%s's %s=%q: want a number, as %s and %s say which shard this is; --shard=I/N overrides them", s.name, name, v, s.index, s.total)
			}
			numbers[i] = n
		}
		at := numbers[0] - numbers[2]
		if numbers[3] < 1 || at%numbers[3] != 0 || at < 0 || at/numbers[3] >= numbers[1] {
			return explore.Shard{}, fmt.Errorf("%s's %s=%s and %s=%s: the index is none of that many, from %s on; --shard=I/N overrides them", s.name, s.index, index, s.total, total, first)
		}
		shard := explore.Shard{Index: at/numbers[3] + 1, Of: numbers[1]}
		if by != "" && shard != found {
			return explore.Shard{}, fmt.Errorf("%s says that this is shard %d/%d, and %s that it is %d/%d: say which with --shard=I/N", by, found.Index, found.Of, s.name, shard.Index, shard.Of)
		}
		found, by = shard, s.name
	}
	return found, nil
}

// obeyed tells a test runner that waits for it that the shard was looked at
// (Bazel, "Test encyclopedia", Test sharding: TEST_SHARD_STATUS_FILE).
func obeyed() error {
	path := os.Getenv("TEST_SHARD_STATUS_FILE")
	if path == "" {
		return nil
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("TEST_SHARD_STATUS_FILE: %w", err)
	}
	return f.Close()
}

// share numbers the tests of the plan from 1 on and leaves those of the shard:
// each test is one shard's, but a test that explores is every shard's, which runs
// its part of the states.
func (r *runner) share() {
	s := r.o.Shard
	n := 0
	for _, f := range r.files {
		p := plannedFile{Path: f.path}
		for _, it := range f.items {
			n++
			it.number = n
			p.Tests = append(p.Tests, plannedTest{Name: it.test.Name, Number: n, Shared: it.test.Explores})
		}
		r.planned = append(r.planned, p)
		if s.Of > 0 {
			f.items = slices.DeleteFunc(f.items, func(it *item) bool { return !owns(s, it.number, it.test.Explores) })
		}
	}
}

// owns says that a shard runs a test.
func owns(s explore.Shard, number int, shared bool) bool {
	return shared || (number-1)%s.Of == s.Index-1
}
