package run

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"

	"nvlab/nvdimm/explore"
	nvstar "nvlab/starlark"
)

// A record is what the stream of a shard says besides the events of test2json,
// so that all shards together tell what one run would. It is a field of such
// events.
type record struct {
	Shard *shardRecord `json:",omitempty"` // of the first output
	Test  *testRecord  `json:",omitempty"` // of the end of a test that is no subtest
	File  *fileRecord  `json:",omitempty"` // of the end of a file
}

// A shardRecord says what a shard is of.
type shardRecord struct {
	Shard  explore.Shard
	Engine string
	Seed   uint64
	Run    string   `json:",omitempty"` // the expression for tests
	Skip   string   `json:",omitempty"` // likewise, of those that do not run
	Header []string // lines before all tests
	Files  []plannedFile
}

// plannedFile is a file with the tests that were chosen of it, of all shards.
type plannedFile struct {
	Path  string
	Tests []plannedTest `json:",omitempty"`
}

type plannedTest struct {
	Name   string
	Number int  // from 1 on
	Shared bool `json:",omitempty"` // between all shards, as it explores
}

// plan names what shards have to have in common.
func (r *shardRecord) plan() string {
	text, _ := json.Marshal([]any{r.Seed, r.Run, r.Skip, r.Files, r.Shard.Of})
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:4])
}

// A testRecord is what a test, with its subtests, came to.
type testRecord struct {
	Nodes    []nodeRecord
	Explored []nvstar.Explored `json:",omitempty"`
}

type nodeRecord struct {
	Name      string
	Logs      []string `json:",omitempty"`
	Text      string   `json:",omitempty"`
	Status    nvstar.Status
	Reason    string            `json:",omitempty"`
	Failures  []*nvstar.Failure `json:",omitempty"`
	NotRun    bool              `json:",omitempty"`
	Unchecked bool              `json:",omitempty"`
	Elapsed   time.Duration
	Guests    []string        `json:",omitempty"` // that it used
	Left      []string        `json:",omitempty"` // files that are kept of it
	Calls     []nvstar.Called `json:",omitempty"` // if a page is written
}

// A fileRecord is what a file came to.
type fileRecord struct {
	Failure *nvstar.Failure `json:",omitempty"` // to load it
	Began   time.Time
	Elapsed time.Duration
}

// recorded is the test with its subtests, when it has ended.
func (r *testReport) recorded() *testRecord {
	t := &testRecord{Explored: r.explored}
	for _, n := range r.order {
		if o := n.outcome; o != nil {
			t.Nodes = append(t.Nodes, nodeRecord{n.name, n.logs, n.text, o.Status, o.Reason, o.Failures, o.NotRun, o.Unchecked, o.Elapsed, n.kernels(), n.left, n.calls})
		}
	}
	return t
}

// node is what was recorded.
func (n *nodeRecord) node() *node {
	return &node{name: n.Name, logs: n.Logs, text: n.Text, guests: n.Guests, left: n.Left, calls: n.Calls, outcome: &nvstar.Outcome{
		Status: n.Status, Reason: n.Reason, Failures: n.Failures, NotRun: n.NotRun, Unchecked: n.Unchecked, Elapsed: n.Elapsed,
	}}
}
