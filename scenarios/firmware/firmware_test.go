// Package firmware has scenarios of a DIMM's management, and of its errors. Its
// test runs them.
package firmware

import (
	"regexp"
	"testing"

	"nvlab/internal/consoles"
)

// heard is what the guests' kernels say where a test provokes it.
var heard = consoles.Table{
	Provoked: map[string][]string{
		"beside.star/test_nfit_test":             {`Error found in NVDIMM nmem3 flags: save_fail restore_fail flush_fail not_armed map_fail`, `Error found in NVDIMM nmem[0-2] flags: flush_fail`, `nmem2: is locked, failing probe`, `region0: ARS: range 2 ARS failed`},
		"families.star/test_not_saved":           {`Error found in NVDIMM nmem0 flags: flush_fail`, `Error found in NVDIMM nmem1 flags: flush_fail`},
		"metadata.star/test_btt":                 {`nd_pmem btt0.0: io error in READ sector 5`},
		"security.star/test_passphrase":          {`nmem0: is locked, failing probe`},
		"unsaved.star/test_a_hint_is_no_promise": {`Error found in NVDIMM nmem0 flags: flush_fail`},
		"unsaved.star/test_file_systems":         {`Error found in NVDIMM nmem[01] flags: flush_fail`, `DAX enabled. Warning: EXPERIMENTAL`},
		"unsaved.star/test_pmdk":                 {`Error found in NVDIMM nmem0 flags: flush_fail`},
	},
	Tolerated: map[string]*regexp.Regexp{
		"poison.star/test_file": regexp.MustCompile(`DAX enabled. Warning: EXPERIMENTAL`), // on 6.1, if its kernel is there
	},
}

// TestScenarios runs every scenario, and reads what the guests' kernels said.
func TestScenarios(t *testing.T) {
	if testing.Short() {
		t.Skip("starts machines")
	}
	heard.Run(t, "scenarios/firmware", ".")
}
