package spell

import "testing"

func TestNearest(t *testing.T) {
	params := []string{"backend", "id", "label_size", "unarmed", "slot", "node", "addr", "uuid"}
	for _, test := range []struct {
		word       string
		candidates []string
		want       string
	}{
		{"lable_size", params, "label_size"},
		{"labelsize", params, "label_size"},
		{"Slot", params, "slot"},
		{"uid", params, "id"},
		{"noed", params, "node"},
		{"frobnicate", params, ""},
		{"label", params, "label_size"},
		{"x", params, ""},
		{"", params, ""},
		{"ran", []string{"run", "guest", "label"}, "run"},
		{"mem_path", []string{"path", "size"}, "path"},
		{"cap", []string{"slots", "nvdimm_cap"}, "nvdimm_cap"},
		{"cmd", []string{"check", "command"}, "command"},
		{"cmdz", []string{"", "command"}, ""},
		{"anything", nil, ""},
	} {
		if got := Nearest(test.word, test.candidates); got != test.want {
			t.Errorf("Nearest(%q, %q) = %q, want %q", test.word, test.candidates, got, test.want)
		}
	}
}
