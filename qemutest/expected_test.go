package qemutest

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

// An expectation is a difference between QEMU and nvlab that is meant.
type expectation struct {
	pair string // regular expressions of the machine's name
	fact string // and of the fact's
	why  string
	doc  string // what docs/document.md calls it
}

func (e expectation) matches(pair string, d difference) bool {
	return regexp.MustCompile("^("+e.pair+")$").MatchString(pair) && regexp.MustCompile("^("+e.fact+")$").MatchString(d.fact)
}

// expected are all differences that remain. One that is not seen any more
// fails the test.
var expected = []expectation{
	{`.*`, `nfit/OEM`, "each table names its maker", "Tables name their maker."},
	{`.*`, `dmesg: ACPI: (NFIT|SSDT|Reserving NFIT) .*`, "each firmware puts its tables where it likes; the byte code is of each one's own making", "Tables and byte code are of nvlab's own making"},
	{`labels|backends|sizes|nodes|packed|RAM in slots|two sockets`, `nfit/order`, "QEMU lists DIMMs in the order of a hash table, nvlab by slot", "DIMMs stand in slot order in the NFIT"},
	{`memmap above.*`, `memory/.*|nodes/.*`, "each chipset goes on from 4 GiB with another part of RAM", "RAM goes on from 4 GiB behind the first 3 GiB."},
	{`packed`, `.*@2.*|iomem`, "QEMU packs DIMMs, and Linux refuses fsdax behind one of an odd size; nvlab puts each at a multiple of 16 MiB", "An address that nvlab chooses is a multiple of 16 MiB."},
}

// TestDifferencesAreDocumented: each is a point of the list in docs/document.md.
func TestDifferencesAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../docs/document.md")
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := strings.Cut(string(text), "\n## Deliberate differences\n")
	for _, e := range expected {
		if !strings.Contains(list, "\n- **"+e.doc+"**") || e.doc == "" {
			t.Errorf("docs/document.md has no difference %q, which is expected of %s: %s", e.doc, e.fact, e.why)
		}
	}
	rows := 0
	for _, p := range pairs {
		rows += len(p.rows)
	}
	if want := fmt.Sprintf("of %d configurations", rows); !strings.Contains(list, want) {
		t.Errorf("docs/document.md does not say that what is compared is %s", want)
	}
}
