// Package require ends tests that lack something of their host: they skip, or
// fail where an environment variable says that it has to be there.
package require

import (
	"os"
	"testing"
)

// Missing ends a test for want of what, such as "QEMU": it skips with the
// reason, or fails if NVLAB_REQUIRE_QEMU is 1.
func Missing(t testing.TB, what, format string, args ...any) {
	t.Helper()
	name := "NVLAB_REQUIRE_" + what
	if os.Getenv(name) == "1" {
		t.Fatalf(format+" ("+name+"=1)", args...)
	}
	t.Skipf(format, args...)
}
