// Package nvdimm is the NVDIMMs of a virtual machine: the DIMMs, the firmware's
// account of them (NFIT, SSDT), and the mailbox over which a guest reads and
// writes their labels. Package backend stores their bytes.
//
// It follows QEMU's vNVDIMM device, whose option names and error texts it
// keeps; the machine that hosts it knows it only as memory, an I/O port and
// ACPI tables.
package nvdimm
