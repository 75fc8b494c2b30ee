package firmware

import "time"

// Activation is the family by which the root device activates what its DIMMs
// have staged, without a power-off (Linux intel.h, NVDIMM_BUS_INTEL_*).
var Activation = &Family{
	Name: "activation", UUID: "c7d8acd4-2df8-4b82-9f65-a325335af149", Number: NumberActivation, Revisions: 1,
	Functions: []Function{
		{Number: 1, Name: "bus_activate_info", Source: "Linux intel.h NVDIMM_BUS_INTEL_FW_ACTIVATE_BUSINFO"},
		{Number: 2, Name: "bus_activate", Source: "Linux intel.h NVDIMM_BUS_INTEL_FW_ACTIVATE"},
	},
}

// States of an activation (Linux intel.h, ND_INTEL_FWA_*).
const (
	activateIdle  = 0
	activateArmed = 1
	activateBusy  = 2
)

func (u *Update) activateState() uint8 {
	switch {
	case u.Stage == Activating:
		return activateBusy
	case u.Armed:
		return activateArmed
	}
	return activateIdle
}

// activateInfo is the reply of function 29 (Linux intel.h, struct
// nd_intel_fw_activate_dimminfo), 14 bytes.
type activateInfo struct {
	Status Status
	Result ActivateResult // at 4
	State  uint8          // at 6
	_      [7]byte
}

func intelActivateInfo(x *exchange) any {
	u := &x.s.Update
	return activateInfo{Result: u.Result, State: u.activateState()}
}

func intelActivateArm(x *exchange) any {
	u := &x.s.Update
	switch arm := decode[uint8](x.in); {
	case arm > 1:
		return Invalid
	case u.Stage == Activating:
		return Retry
	default:
		u.Armed = arm == 1
		return OK
	}
}

// Capabilities of an activation (Linux intel.h, ND_INTEL_BUS_FWA_CAP_*).
const activateQuiesce = 1 << 0 // the firmware halts the memory, and the operating system its devices

// busInfo is the reply of the family's function 1 (Linux intel.h, struct
// nd_intel_bus_fw_activate_businfo), 40 bytes.
type busInfo struct {
	Status     Status
	_          uint16
	State      uint8  // at 6
	Capability uint8  // at 7
	Activate   uint64 // at 8, µs: the longest
	CPUQuiesce uint64 // at 16, µs
	IOQuiesce  uint64 // at 24, µs
	MaxQuiesce uint64 // at 32, µs: what the platform can bear
}

// activateRequest is the input of function 2 (Linux intel.h, struct
// nd_intel_bus_fw_activate).
type activateRequest struct{ IOState uint8 }

// Extended reasons of function 2's status 6 (Linux intel.h,
// ND_INTEL_BUS_FWA_STATUS_*).
const (
	activateFailed   Status = 6
	activateNotArmed Status = activateFailed | 1<<16
	activateTooBusy  Status = activateFailed | 2<<16
)

// AnswerActivation obeys a call of the Activation family for the DIMMs of a
// root device.
func AnswerActivation(dimms []*State, now time.Duration, revision, function uint32, in []byte) []byte {
	armed, busy := 0, false
	for _, s := range dimms {
		s.advance(now)
		if s.Update.Armed {
			armed++
		}
		busy = busy || s.Update.Stage == Activating
	}
	switch {
	case !Activation.Knows(revision):
		return encode(NotSupported)
	case function == 1:
		state := activateIdle
		if busy {
			state = activateBusy
		} else if armed > 0 {
			state = activateArmed
		}
		longest := uint64(armed) * uint64(time.Second.Microseconds())
		return encode(busInfo{
			State: uint8(state), Capability: activateQuiesce, Activate: longest,
			CPUQuiesce: longest, IOQuiesce: longest, MaxQuiesce: uint64(quiesceTime.Microseconds()),
		})
	case function != 2:
		return encode(NotSupported)
	case decode[activateRequest](in).IOState > 1:
		return encode(Invalid)
	case busy:
		return encode(activateTooBusy)
	case armed == 0:
		return encode(activateNotArmed)
	}
	for _, s := range dimms {
		if u := &s.Update; u.Armed {
			u.Armed, u.Stage, u.Until = false, Activating, now+activateTime
		}
	}
	return encode(OK)
}
