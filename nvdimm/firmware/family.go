package firmware

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// A Family is whose _DSM a device speaks: a UUID and the functions behind it.
type Family struct {
	Name      string // in a scenario, and in Linux's NVDIMM_FAMILY_*
	UUID      string // of _DSM
	Number    uint16 // by which nvlab's AML names the family to the device
	Revisions uint32 // of _DSM, from 1 to this
	Functions []Function
}

// A Function is what a family offers under a number.
type Function struct {
	Number uint32
	Name   string // as ndctl's library or Linux names the command
	Also   string // another name by which it is known, or ""
	Source string

	answer func(*exchange) any // nil: its device has it: the labels', and the root's
}

// Numbers of families. A DIMM's are Linux's (include/uapi/linux/ndctl.h).
const (
	NumberIntel  = 0
	NumberHPE1   = 1
	NumberMSFT   = 3
	NumberHyperV = 4

	NumberRoot       = 0 // of the root device
	NumberActivation = 1 // of the root device: Linux's NVDIMM_BUS_FAMILY_INTEL
)

// Families are those that a DIMM may have.
var Families = []*Family{Intel, HPE1, MSFT, HyperV}

// FamilyByName finds a DIMM's family.
func FamilyByName(name string) (*Family, error) {
	var names []string
	for _, f := range Families {
		if f.Name == name {
			return f, nil
		}
		names = append(names, fmt.Sprintf("%q", f.Name))
	}
	slices.Sort(names)
	return nil, fmt.Errorf("family=%q: the families are %s", name, strings.Join(names, ", "))
}

// Mask is the answer to function 0: a bit for each function, and bit 0 if
// there is any. Those that the device has itself count if it does.
func (f *Family) Mask(device bool) (mask uint32) {
	for _, fn := range f.Functions {
		if fn.answer != nil || device {
			mask |= 1 << fn.Number
		}
	}
	if mask != 0 {
		mask |= 1
	}
	return mask
}

// Function finds a function by its number, nil if the family has none.
func (f *Family) Function(number uint32) *Function {
	i := slices.IndexFunc(f.Functions, func(fn Function) bool { return fn.Number == number })
	if i < 0 {
		return nil
	}
	return &f.Functions[i]
}

// Named finds a function by its name, nil if the family has none.
func (f *Family) Named(name string) *Function {
	i := slices.IndexFunc(f.Functions, func(fn Function) bool { return fn.Name == name || fn.Also == name })
	if i < 0 || name == "" {
		return nil
	}
	return &f.Functions[i]
}

// Names are the names of the functions.
func (f *Family) Names() (names []string) {
	for _, fn := range f.Functions {
		names = append(names, fn.Name)
	}
	return names
}

// OfLabels says that a function of a DIMM is one of its label area's.
func (fn *Function) OfLabels() bool { return fn != nil && fn.answer == nil }

// Knows says that the family has an answer to a revision of _DSM.
func (f *Family) Knows(revision uint32) bool { return revision >= 1 && revision <= f.Revisions }

// An exchange is one call while it is obeyed.
type exchange struct {
	s      *State
	now    time.Duration // guest time since power-on
	in     []byte
	effect Effect
}

// Effect is what a call has for others than its caller.
type Effect struct {
	Notify bool // the DIMM's health event: Notify 0x81
	Erase  Erase
}

// Erase is what of a DIMM's contents is lost.
type Erase uint8

const (
	EraseNothing Erase = iota
	EraseData          // its memory
	EraseAll           // and its labels
)

// Answer obeys a call of a function that is none of the labels': it gives the
// reply, which begins with a status. The input has zeros behind what the guest
// gave; what of it does not fit is refused.
func (f *Family) Answer(s *State, now time.Duration, revision, function uint32, in []byte) ([]byte, Effect) {
	fn := f.Function(function)
	if fn == nil || fn.answer == nil || !f.Knows(revision) {
		return encode(NotSupported), Effect{}
	}
	s.advance(now)
	x := &exchange{s: s, now: now, in: in}
	reply := encode(fn.answer(x))
	return reply, x.effect
}
