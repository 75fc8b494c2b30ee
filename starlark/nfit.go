package nvstar

import (
	"go.starlark.net/starlark"

	"nvlab/acpi"
)

// nfitStructure turns a structure of the NFIT into a struct. The numbers are
// those of ACPI 6.5 table 5.111, the names Linux's.
func nfitStructure(s acpi.NFITStructure) starlark.Value {
	fields := fieldsOf(s)
	number, kind := -1, ""
	switch s := s.(type) {
	case *acpi.SPARange:
		number, kind = 0, "spa"
		fields["range_type"] = fields["type"]
	case *acpi.MemoryDevice:
		number, kind = 1, "memdev"
	case *acpi.Interleave:
		number, kind = 2, "interleave"
	case *acpi.SMBIOSInfo:
		number, kind = 3, "smbios"
	case *acpi.ControlRegion:
		number, kind = 4, "dcr"
	case *acpi.BlockWindow:
		number, kind = 5, "bdw"
	case *acpi.FlushHint:
		number, kind = 6, "flush"
	case *acpi.PlatformCapabilities:
		number, kind = 7, "capabilities"
	case *acpi.UnknownEntry:
		number = int(s.Type)
	}
	fields["type"] = starlark.MakeInt(number)
	fields["kind"] = textOrNone(kind)
	return record(fields)
}
