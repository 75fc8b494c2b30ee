package power

import (
	"reflect"
	"testing"

	"nvlab/internal/statedoc"
	"nvlab/nvdimm"
)

// TestState: of every field of a machine's NVDIMMs docs/snapshots.md says what it
// is.
func TestState(t *testing.T) {
	statedoc.Check(t, "NVDIMMs", reflect.TypeFor[Tracker](), reflect.TypeFor[nvdimm.Mailbox](), reflect.TypeFor[nvdimm.Hints]())
}
