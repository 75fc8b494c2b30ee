// Package qemutest holds nvlab against QEMU's virtual NVDIMM, which it
// follows: one kernel, one initramfs and one set of commands on both. It
// drives QEMU for its own tests and for nothing else.
package qemutest
