package label

import (
	"encoding/hex"
	"fmt"

	"nvlab/acpi/guid"
)

// UUID names a namespace. Unlike a GUID its bytes stand in the order of the
// text (RFC 9562 section 4).
type UUID [16]byte

// ParseUUID reads xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx, in either case.
func ParseUUID(s string) (UUID, error) {
	var u UUID
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return u, fmt.Errorf("UUID %q is not of the form xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx", s)
	}
	if _, err := hex.Decode(u[:], []byte(s[:8]+s[9:13]+s[14:18]+s[19:23]+s[24:])); err != nil {
		return UUID{}, fmt.Errorf("UUID %q has a character that is not a hexadecimal digit", s)
	}
	return u, nil
}

func (u UUID) String() string {
	h := hex.EncodeToString(u[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// What a label's type and abstraction GUIDs say (UEFI 2.10 section 13.19.2,
// ACPI 6.5 section 5.2.25.2; Linux include/linux/nd.h, drivers/acpi/nfit).
var (
	TypePersistentMemory = guid.MustParse("66f0d379-b4f3-4074-ac43-0d3318b78cdb")
	TypeVolatileMemory   = guid.MustParse("7305944f-fdda-44e3-b16c-3f22d252e5d0")

	AbstractionBTT  = guid.MustParse("8aed63a2-29a2-4c66-8b12-f05d15d3922a")
	AbstractionBTT2 = guid.MustParse("18633bfc-1735-4217-8ac9-17239282d3f8")
	AbstractionPFN  = guid.MustParse("266400ba-fb9f-4677-bcb0-968f11d0d225")
	AbstractionDAX  = guid.MustParse("97a86d9c-3cdd-4eda-986f-5068b4f80088")
)

var guidNames = map[guid.GUID]string{
	{}:                   "none",
	TypePersistentMemory: "persistent memory",
	TypeVolatileMemory:   "volatile memory",
	AbstractionBTT:       "btt",
	AbstractionBTT2:      "btt 2",
	AbstractionPFN:       "pfn",
	AbstractionDAX:       "dax",
}

// GUIDName says what a type or abstraction GUID stands for, "" if unknown.
func GUIDName(g guid.GUID) string { return guidNames[g] }
