package firmware

import (
	"encoding/binary"
	"fmt"
)

// Status is the first word of every reply: the status in the low 16 bits, an
// extended status in the high ones.
type Status uint32

// Statuses of DIMM functions (DSM, section 3.1; ndctl intel.h; Linux intel.h).
const (
	OK                Status = 0
	NotSupported      Status = 1
	NoDevice          Status = 2
	Invalid           Status = 3
	Failed            Status = 4 // hardware error
	Retry             Status = 5
	Extended          Status = 7 // see the high 16 bits
	InvalidState      Status = 10
	InvalidPassphrase Status = 11
)

// LabelsLocked is the extended status of the size of a label area whose DIMM
// is locked (Linux core.c, xlat_nvdimm_status: bit 16).
const LabelsLocked Status = 1 << 16

// extended is status 7 with its reason.
func extended(n uint16) Status { return Extended | Status(n)<<16 }

// encode is a reply: a Status, or a struct of fixed size that begins with one.
func encode(reply any) []byte {
	p, err := binary.Append(nil, binary.LittleEndian, reply)
	if err != nil {
		panic(fmt.Sprintf("reply %T: %v", reply, err)) // a handler of this package is at fault
	}
	return p
}

// decode reads an input, which has zeros behind what the guest gave.
func decode[T any](in []byte) (v T) {
	in = append(in[:len(in):len(in)], make([]byte, max(binary.Size(v)-len(in), 0))...)
	if _, err := binary.Decode(in, binary.LittleEndian, &v); err != nil {
		panic(fmt.Sprintf("input %T: %v", v, err))
	}
	return v
}
