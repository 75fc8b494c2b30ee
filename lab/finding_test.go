package lab

import (
	"strings"
	"testing"

	"nvlab/nvdimm/persist"
)

// TestDescribeLabelWrite: no instruction of the guest makes a label write, so
// that a report names none.
func TestDescribeLabelWrite(t *testing.T) {
	trace := &Trace{command: "ndctl init-labels"}
	got := trace.Describe(&persist.State{ID: "80.x1-b93ee1b1", At: persist.AtLabel, Seq: 7, Torn: 8})
	want := "crash state 80.x1-b93ee1b1: the power failed during ndctl init-labels, before a label write, instruction 7\n  torn: the label write, after 8 bytes\n"
	if !strings.HasPrefix(got, want) {
		t.Errorf("Describe(a state within a label write) =\n%s\nwant\n%s", got, want)
	}
}
