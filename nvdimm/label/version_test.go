package label

import "testing"

// TestOtherVersion: what is wrong with a block of a known version is where it
// stands.
func TestOtherVersion(t *testing.T) {
	for _, test := range []struct {
		x    Index
		area Version
		want string
	}{
		{Index{Major: 1, Minor: 2, LabelSize: 256}, V11, "version 1.2 with labels of 256 bytes in an area of version 1.1 with labels of 128"},
		{Index{Major: 1, Minor: 1, LabelSize: 128}, V12, "version 1.1 with labels of 128 bytes in an area of version 1.2 with labels of 256"},
		{Index{Major: 1, Minor: 2, LabelSize: 128}, V12, "version 1.2 with labels of 128 bytes: known are 1.1 with 128 and 1.2 with 256"},
	} {
		block := make([]byte, 256)
		copy(block, signature)
		test.x.Signature = signature
		if got := test.x.flaw(block, Geometry{Version: test.area, IndexSize: 256}, 0); got != test.want {
			t.Errorf("a block %d.%d in an area of version %v: %q, want %q", test.x.Major, test.x.Minor, test.area, got, test.want)
		}
	}
}
