// Package backend is the storage behind NVDIMMs: QEMU's memory-backend-file and
// memory-backend-ram, with their options, error texts and promises.
//
// A [Backend] is bytes with a size that does not change: a file or a part of
// one, a device-DAX device, or anonymous memory. A [Mapping] of it is what one
// VM's guest sees. A [Snapshot] is what it held at a moment, to compare with
// and to go back to. A [Saved] is what all backends of a VM held, and what its
// guest saw of them, to fork the VM and to restore it.
package backend
