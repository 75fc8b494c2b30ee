package vmm

import (
	"reflect"
	"testing"

	"nvlab/internal/statedoc"
	vconsole "nvlab/vmm/device/console"
	"nvlab/vmm/device/serial"
	"nvlab/vmm/device/virtio"
)

// TestState: of every field of a machine docs/snapshots.md says what it is.
func TestState(t *testing.T) {
	statedoc.Check(t, "The machine", reflect.TypeFor[Machine]())
	statedoc.Clone[virtio.State](t)
	statedoc.Clone[serial.State](t)
	statedoc.Clone[vconsole.State](t)
}
