package run

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"nvlab/lab"
	"nvlab/nvdimm/explore"
	nvstar "nvlab/starlark"
)

func TestParseShard(t *testing.T) {
	type env = map[string]string
	for _, tt := range []struct {
		flag string // "-" if it is not given
		env  env
		want string // shard, or a part of the error
	}{
		{"-", nil, "0/0"},
		{"2/8", nil, "2/8"},
		{"1/1", nil, "1/1"},
		{"", nil, "is a variable not set?"},
		{"/8", nil, "is a variable not set?"},
		{"3/", nil, "is a variable not set?"},
		{"3", nil, "want I/N"},
		{"0/8", nil, "want I/N"},
		{"9/8", nil, "from 1 to N"},
		{"1/2/3", nil, "want I/N"},
		{"2/8", env{"TEST_SHARD_INDEX": ""}, "2/8"},
		{"-", env{"TEST_SHARD_INDEX": "0", "TEST_TOTAL_SHARDS": "4"}, "1/4"},
		{"-", env{"TEST_SHARD_INDEX": "3", "TEST_TOTAL_SHARDS": "4"}, "4/4"},
		{"-", env{"TEST_SHARD_INDEX": "4", "TEST_TOTAL_SHARDS": "4"}, "the index is none of that many"},
		{"-", env{"TEST_TOTAL_SHARDS": "4"}, `TEST_SHARD_INDEX="": want a number`},
		{"-", env{"TEST_SHARD_INDEX": "1"}, `TEST_TOTAL_SHARDS="": want a number`},
		{"-", env{"TEST_SHARD_INDEX": "", "TEST_TOTAL_SHARDS": "4"}, "want a number"},
		{"-", env{"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_MIN": "5", "SLURM_ARRAY_TASK_COUNT": "8"}, "3/8"},
		{"-", env{"SLURM_ARRAY_TASK_ID": "9", "SLURM_ARRAY_TASK_MIN": "5", "SLURM_ARRAY_TASK_COUNT": "3", "SLURM_ARRAY_TASK_STEP": "2"}, "3/3"},
		{"-", env{"SLURM_ARRAY_TASK_ID": "8", "SLURM_ARRAY_TASK_MIN": "5", "SLURM_ARRAY_TASK_COUNT": "3", "SLURM_ARRAY_TASK_STEP": "2"}, "the index is none of that many"},
		{"-", env{"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_COUNT": "8"}, `SLURM_ARRAY_TASK_MIN="": want a number`},
		{"-", env{"SLURM_ARRAY_TASK_ID": "7"}, "want a number"},
		{"-", env{"JOB_COMPLETION_INDEX": "0", "NVLAB_SHARDS": "5"}, "1/5"},
		{"-", env{"JOB_COMPLETION_INDEX": "0"}, `NVLAB_SHARDS="": want a number`},
		{"-", env{"NVLAB_SHARDS": "5"}, `JOB_COMPLETION_INDEX="": want a number`},
		{"-", env{"CI_NODE_INDEX": "5", "CI_NODE_TOTAL": "5"}, "5/5"},
		{"-", env{"CI_NODE_INDEX": "0", "CI_NODE_TOTAL": "5"}, "the index is none of that many"},
		{"-", env{"CI_NODE_TOTAL": "1"}, "0/0"}, // as GitLab says of a job that is not parallel
		{"-", env{"CI_NODE_TOTAL": "2"}, "want a number"},
		{"-", env{"CI_NODE_INDEX": "1", "CI_NODE_TOTAL": "5", "JOB_COMPLETION_INDEX": "0", "NVLAB_SHARDS": "5"}, "1/5"},
		{"-", env{"CI_NODE_INDEX": "2", "CI_NODE_TOTAL": "5", "JOB_COMPLETION_INDEX": "0", "NVLAB_SHARDS": "5"}, "say which with --shard"},
	} {
		s, err := ParseShard(strings.TrimPrefix(tt.flag, "-"), tt.flag != "-", func(name string) (string, bool) { v, ok := tt.env[name]; return v, ok })
		got := fmt.Sprintf("%d/%d", s.Index, s.Of)
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, tt.want) {
			t.Errorf("--shard %q with %v is %q, want %q", tt.flag, tt.env, got, tt.want)
		}
	}
}

// exploredStream is the stream of a shard that explored in a subtest.
func exploredStream(t testing.TB, shard explore.Shard, leaves ...explore.Leaf) []byte {
	t.Helper()
	var out bytes.Buffer
	result := &explore.Result{Legal: big.NewInt(10), Depth: 2, Complete: true, States: new(big.Int), Leaves: leaves}
	for _, l := range leaves {
		result.States.Add(result.States, l.States)
	}
	r := &runner{o: Options{Shard: shard, JSON: true, Stdout: &out}, engine: "soft", planned: []plannedFile{{Path: "x.star", Tests: []plannedTest{{"test_x", 1, true}}}}}
	f := &fileRun{path: "x.star", began: time.Unix(1e9, 0)}
	it := &item{file: f, number: 1}
	f.items, r.files = []*item{it}, []*fileRun{f}
	r.layOut()
	r.header([]string{"engine: soft\n"})
	line := fmt.Sprintf("shard %d says", shard.Index)
	it.report.start("test_x")
	x := nvstar.Explored{Test: "test_x", Line: line, Shard: shard, At: "fence", Result: result, Bad: []string{"bad"}}
	x.Detail = &nvstar.ExploredDetail{Events: map[int]string{}}
	for _, a := range result.Answers() {
		x.Detail.Answers = append(x.Detail.Answers, nvstar.ShownState{Told: "told of " + a.Plainest.ID, Lines: []lab.LostLine{{NVDIMM: "nvdimm1", All: [64]byte{1, 2}}}})
	}
	for _, l := range leaves {
		x.Detail.Events[l.Point] = fmt.Sprint("when ", l.Point)
	}
	it.report.note(x)
	it.report.called(nvstar.Called{Test: "test_x", Owner: "test_x", VM: 1, What: "vm.boot()", Printed: "one\n", Lines: []time.Duration{5e8},
		Happened: []lab.Happening{{Times: 1, Kind: lab.KindPower, What: "on", Printed: 2}}, Labels: []nvstar.LabelChange{{NVDIMM: "nvdimm1", After: []nvstar.LabelSlot{{UUID: "u"}}}}})
	it.report.log("test_x", "x.star:1: "+line+"\n")
	o := &nvstar.Outcome{Elapsed: time.Second}
	it.report.end("test_x", o, "")
	f.count("test_x", o, "")
	r.fileEnd(f)
	return out.Bytes()
}

func leaf(id, answer string, states int64, lines int) explore.Leaf {
	point, _ := strconv.Atoi(id[:1])
	return explore.Leaf{ID: id, Answer: answer, States: big.NewInt(states), Lines: lines, Point: point}
}

// TestMergedExploration: what two shards explored is told of in one line.
func TestMergedExploration(t *testing.T) {
	var shards []*shardStream
	for i, stream := range [][]byte{
		exploredStream(t, explore.Shard{Index: 1, Of: 2}, leaf("1.n", "good", 3, 0), leaf("1.n1", "bad", 2, 1)),
		exploredStream(t, explore.Shard{Index: 2, Of: 2}, leaf("2.e", "good", 5, 0)),
	} {
		s, err := readShard(fmt.Sprint(i), bytes.NewReader(stream))
		if err != nil {
			t.Fatal(err)
		}
		shards = append(shards, s)
	}
	if err := complete(shards); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	r := &runner{o: Options{Verbose: true, Stdout: &out}}
	if err := r.join(shards); err != nil {
		t.Fatal(err)
	}
	want := `x.star:1: explore(at = "fence", depth = 2): 3 executions speak for 10 of 10 legal states; that is all; 2 answers, 1 finding` + "\n"
	if got := out.String(); strings.Count(got, want) != 1 || strings.Contains(got, "says") {
		t.Errorf("the merged report is\n%swant once the line\n%s", got, want)
	}

	var page bytes.Buffer
	if err := r.html(&page); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "x.html")
	if err := os.WriteFile(path, page.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	_, report := readPage(t, path)
	test := report.Files[0].Tests[0]
	if len(test.Explored) != 1 || len(test.Machines) != 1 {
		t.Fatalf("the merged page has of %s %d explorations and %d machines, want 1 and 1", test.Name, len(test.Explored), len(test.Machines))
	}
	x, call := test.Explored[0], test.Machines[0].Calls[0]
	var got []string
	for _, a := range x.Answers {
		got = append(got, fmt.Sprintf("%s: %d for %s, %s, %d line", a.Text, a.Executions, a.States, a.Told, len(a.Lines)))
	}
	for _, e := range x.Events {
		got = append(got, fmt.Sprintf("%s: %d", e.When, len(e.Runs)))
	}
	got = append(got, fmt.Sprintf("%q %v %v %d %d", call.Console, call.Times, call.Happened, len(call.Labels), report.Began.Year()))
	wants := []string{"bad: 1 for 2, told of 1.n1, 1 line", "good: 2 for 8, told of 1.n, 1 line", "when 1: 2", "when 2: 1", `"one\n" [0.5] [{0 0 0 0 power on}] 1 2001`}
	if !slices.Equal(got, wants) {
		t.Errorf("the merged page has\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(wants, "\n"))
	}
}

// FuzzMerge reads streams of two shards that came from anywhere.
func FuzzMerge(f *testing.F) {
	one, two := exploredStream(f, explore.Shard{Index: 1, Of: 2}, leaf("1.n", "good", 3, 0)), exploredStream(f, explore.Shard{Index: 2, Of: 2}, leaf("1.e", "bad", 5, 0))
	f.Add(one, two)
	f.Add(one, one)
	f.Add(bytes.ReplaceAll(one, []byte(`"Printed":2`), []byte(`"Printed":-2`)), two)
	f.Add(bytes.ReplaceAll(one, []byte(`"Of":2},"At"`), []byte(`"Of":0},"At"`)), bytes.ReplaceAll(two, []byte(`"States":5`), []byte(`"States":null`)))
	f.Add(bytes.ReplaceAll(one, []byte(`"Legal":10`), []byte(`"Legal":null`)), two)
	f.Add([]byte(`{"Action":"output","Record":{"Shard":{"Shard":{"Index":1,"Of":999999999}}}}`), two)
	f.Add([]byte(`{"Record":{"Test":{"Nodes":[{"Status":7}]}}}`), []byte("{"))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		var shards []*shardStream
		for _, stream := range [][]byte{a, b} {
			s, err := readShard("a file", bytes.NewReader(stream))
			if err != nil {
				return
			}
			shards = append(shards, s)
		}
		if complete(shards) != nil {
			return
		}
		for _, o := range []Options{{JSON: true}, {Verbose: true}, {}} {
			var out bytes.Buffer
			o.Stdout = &out
			r := &runner{o: o}
			if r.join(shards) != nil {
				return
			}
			for _, file := range r.files {
				file.suite(r.engine, 0)
			}
			r.html(io.Discard)
			r.kcidb(io.Discard)
			if o.JSON {
				for line := range bytes.Lines(out.Bytes()) {
					if !json.Valid(line) {
						t.Fatalf("the merged stream has the line %q", line)
					}
				}
			}
		}
	})
}
