package programs

import (
	"runtime"
	"slices"
	"strings"
	"testing"
)

func TestPrograms(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles programs")
	}
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		t.Skip("the programs are for linux/amd64")
	}
	t.Chdir(t.TempDir())
	for _, p := range slices.Concat(All, Stress) {
		t.Run(p.Name, func(t *testing.T) {
			path := p.Build(t)
			one, again, more := Native(t, path, "1"), Native(t, path, "1"), Native(t, path, "2")
			if len(strings.TrimSpace(one)) != 16 || one != again {
				t.Errorf("%s printed %q and %q, want one checksum of 16 digits", p.Name, one, again)
			}
			if one == more {
				t.Errorf("%s printed %q for one round and for two", p.Name, one)
			}
		})
	}
}
