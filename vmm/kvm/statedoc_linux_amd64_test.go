package kvm

import (
	"reflect"
	"testing"

	"nvlab/internal/statedoc"
)

// TestState holds what the page on snapshots says of processors on KVM to them.
func TestState(t *testing.T) {
	statedoc.Check(t, "Processors on KVM", reflect.TypeFor[processors]())
}
