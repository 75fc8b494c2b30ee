// Package firmware is the management side of an NVDIMM and of its platform:
// health and its thresholds, errors of the medium and the scrub that finds
// them, passphrases, and updates of the DIMM's own firmware.
//
// What a DIMM knows is a [State], plain data that is copied to save it. A
// [Family] is a table of the functions by which a guest asks for it, each with
// the source of its number and layout; [ARS] is the same of the root device.
// Nothing here knows of machines: time is handed in, and what has to happen
// outside (a notification, the loss of the contents) is an [Effect].
//
// Sources, as comments name them: "ACPI" is ACPI 6.5; "DSM" is Intel's "NVDIMM
// DSM Interface" 1.8; "Linux" is drivers/acpi/nfit and include/uapi/linux/
// ndctl.h of Linux 6.1, "ndctl" is ndctl/lib of ndctl 76; "ours" marks what no
// source settles.
package firmware
