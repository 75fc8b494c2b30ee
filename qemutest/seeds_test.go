package qemutest

import "testing"

// TestSeeds: what probing made of the numbers of seeds does not count.
func TestSeeds(t *testing.T) {
	const sysfs = "btt14.1/uuid:\nbtt14.3/uuid:\nregion14/btt_seed:btt14.3\npfn2.0/uuid:\n"
	const want = "btt14.0/uuid:\nbtt14.1/uuid:\nregion14/btt_seed:btt14.1\npfn2.0/uuid:\n"
	if got := newSeeds(sysfs).canonical(sysfs); got != want {
		t.Errorf("seeds are named\n%s\nwant\n%s", got, want)
	}
}
