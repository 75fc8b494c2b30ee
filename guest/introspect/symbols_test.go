package introspect

import "testing"

func TestSymbols(t *testing.T) {
	s := ParseSymbols([]byte(`0000000000000000 A fixed_percpu_data
ffffffff81000000 T _text
ffffffff81000100 t helper
ffffffff82000000 D data
junk
ffffffffc0000000 t pmem_make_request	[nd_pmem]
`))
	for pc, want := range map[uint64]string{
		0xffffffff81000000: "_text+0x0",
		0xffffffff810000ff: "_text+0xff",
		0xffffffff81000104: "helper+0x4",
		0xffffffffc0000010: "pmem_make_request+0x10",
		0xffffffff82000000: "", // far from every function
		0x401000:           "", // a program's
	} {
		if got := s.At(pc); got != want {
			t.Errorf("symbol of %#x = %q, want %q", pc, got, want)
		}
	}
	if got := (*Symbols)(nil).At(0xffffffff81000000); got != "" {
		t.Errorf("symbol where none were read = %q, want none", got)
	}
	if at, ok := s.Find("helper"); at != 0xffffffff81000100 || !ok {
		t.Errorf("Find(helper) = %#x, %v, want its address", at, ok)
	}
	if at, ok := s.Find("data"); ok {
		t.Errorf("Find(data) = %#x, want none: it is no function", at)
	}
}
