package qemutest

import "regexp"

// An expectation is a difference between QEMU and nvlab that is meant.
type expectation struct {
	pair string // regular expressions of the machine's name
	fact string // and of the fact's
	why  string
}

func (e expectation) matches(pair string, d difference) bool {
	return regexp.MustCompile("^("+e.pair+")$").MatchString(pair) && regexp.MustCompile("^("+e.fact+")$").MatchString(d.fact)
}

// expected are all differences that remain. One that is not seen any more
// fails the test.
var expected = []expectation{
	{`.*`, `nfit/OEM`, "each table names its maker"},
	{`.*`, `dmesg: ACPI: (NFIT|SSDT|Reserving NFIT) .*`, "each firmware puts its tables where it likes; the byte code is of each one's own making"},
	{`labels|backends|sizes|nodes|packed`, `nfit/order`, "QEMU lists DIMMs in the order of a hash table, nvlab by slot"},
	{`packed`, `.*@2.*|iomem`, "QEMU packs DIMMs, and Linux refuses fsdax behind one of an odd size; nvlab puts each at a multiple of 16 MiB"},
}
