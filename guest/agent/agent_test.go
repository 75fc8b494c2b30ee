package agent

import "testing"

func TestParseOptions(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want options
	}{
		{"console=ttyS0 quiet", options{term: "vt220"}},
		{"nvlab.epoch=1700000000 nvlab.script=/x\n", options{epoch: 1700000000, script: "/x", term: "vt220"}},
		{"nvlab.shell nvlab.term=xterm nvlab.size=24x80", options{shell: true, term: "xterm", rows: 24, cols: 80}},
		{"nvlab.modules=nd_e820,dax_hmem", options{modules: "nd_e820,dax_hmem", term: "vt220"}},
		{"nvlab.epoch=-5 nvlab.size=24", options{term: "vt220"}},
		{"nvlab.epoch=x nvlab.size=70000x80 nvlab.other=1", options{term: "vt220"}},
	} {
		if got := parseOptions(tt.in); got != tt.want {
			t.Errorf("parseOptions(%q) = %+v, want %+v", tt.in, got, tt.want)
		}
	}
}

func TestMainLeavesOthersAlone(t *testing.T) {
	if InGuest() {
		t.Fatal("InGuest() = true in a test on the host")
	}
	Main() // returns
}
