package consoles

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// recorder is a test that may fail.
type recorder struct {
	testing.TB
	failures []string
}

func (r *recorder) Helper() {}
func (r *recorder) Errorf(format string, args ...any) {
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}

func TestCheck(t *testing.T) {
	table := Table{
		Provoked:  map[string][]string{"a.star/test_x": {`nmem\d flags: not_armed`}},
		Tolerated: map[string]*regexp.Regexp{"b.star/test_y": regexp.MustCompile(`DAX enabled. Warning`)},
	}
	const armed, dax = "NVDIMM error: nmem0 flags: not_armed\r\n", "xfs: DAX enabled. Warning: EXPERIMENTAL\n"
	for _, c := range []struct{ name, console, want string }{
		{"a.star/test_x", "booting\n" + armed, ""},
		{"a.star/test_x", "booting\n", `does not say "nmem`},
		{"a.star/test_x", armed + dax, "says: xfs"},
		{"b.star/test_y/sub", dax, ""},
		{"b.star/test_y", "", ""},
		{"b.star/test_y", armed, "says: NVDIMM error"},
		{"c.star/test_z", "ACPI BIOS Warning (bug): Incorrect checksum\n", "says: ACPI"},
		{"c.star/test_z", "INFO: rcu_sched self-detected stall\n", "stall"},
		{"c.star/test_z", "nd_pmem namespace0.0: unable to guarantee persistence\n", ""},
		{"c.star/test_z", "[    1.500000] sda: error\n[    2.500000] sda: error\n", ""},
		{"c.star/test_z", "[    1.500000] sda: error\n[nfit] sda: error\n", "says: [nfit]"},
		{"c.star/test_z", "[    3.500000] pmem0: error\n", "says: [    3.5"},
		{"c.star/test_z", "[    3.500000] pmem0: error\n", "says: [    3.5"},
	} {
		r := &recorder{}
		table.Check(r, c.name, []string{"", c.console})
		got := strings.Join(r.failures, "; ")
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("Check(%s, %q) fails with %q, want %q", c.name, c.console, got, c.want)
		}
	}
}
