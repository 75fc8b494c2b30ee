package nvstar

import "testing"

func TestBounds(t *testing.T) {
	for _, test := range []struct {
		bounds, version string
		want            bool
	}{
		{">=6.1.178", "6.1.192-2", true},
		{">=6.1.178", "6.1.178-1", true},
		{">=6.1.178", "6.1.177-1", false},
		{">=6.1.178", "6.12.1", true},
		{"<6.5", "6.1.192-2", true},
		{"<6.1", "6.1.192-2", false},
		{"<=6.1", "6.1.192-2", true},
		{">6.1", "6.1.192-2", false},
		{">6.1", "6.2", true},
		{"==6.1", "6.1.192-2", true},
		{"6.1", "6.1.192-2", true},
		{"= 6.1", "6.2", false},
		{"!=6.1", "6.1.192-2", false},
		{">=6.1, <6.5", "6.4.1", true},
		{">=6.1, <6.5", "6.5.0", false},
		{">=6.1.192-2", "6.1.192-1", false},
		{">=6.1.192-2", "6.1.192-2+b1", true},
		{">=6.1", "6.1~rc3", true},
	} {
		bounds, err := parseBounds(test.bounds)
		if err != nil {
			t.Errorf("parseBounds(%q): %v", test.bounds, err)
			continue
		}
		got := true
		for _, b := range bounds {
			got = got && b.holds(test.version)
		}
		if got != test.want {
			t.Errorf("%s of %s is %v, want %v", test.bounds, test.version, got, test.want)
		}
	}
	for _, bad := range []string{"", "new", ">=", ">= 6.x", "6.1 6.2", ">=6.1,"} {
		if b, err := parseBounds(bad); err == nil {
			t.Errorf("parseBounds(%q) = %v, want an error", bad, b)
		}
	}
}
