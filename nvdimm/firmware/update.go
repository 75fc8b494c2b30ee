package firmware

import "time"

// Update is a DIMM's own firmware, and where an update of it is.
type Update struct {
	Running uint64 // version
	Staged  uint64 // version that an activation or a power-on makes the running one; 0 none
	Next    uint64 // version of the image that is sent next; 0 is one more than the running one
	Fault   Fault

	Stage    Stage
	Context  uint32        // of the latest update, from 1
	Received uint32        // bytes of the image
	Until    time.Duration // guest time since power-on or reset, when Stage ends

	Armed  bool
	Result ActivateResult
}

// Stage is what an update, or an activation, is at.
type Stage uint8

const (
	Idle       Stage = iota
	Receiving        // between start and finish
	Verifying        // the image is checked
	Verified         // and staged
	Refused          // and no good
	Activating       // the staged firmware takes over
)

// Fault is what goes wrong with an update.
type Fault string

const (
	NoFault         Fault = ""
	FaultBusy       Fault = "busy"       // no update is started
	FaultBadImage   Fault = "bad_image"  // the image fails its check
	FaultActivation Fault = "activation" // the staged firmware does not start: the old one runs on
	FaultNeedReset  Fault = "need_reset" // it starts at a power-on only
)

// Faults are all of them but none.
var Faults = []Fault{FaultBusy, FaultBadImage, FaultActivation, FaultNeedReset}

// ActivateResult is how the latest activation ended (Linux intel.h,
// ND_INTEL_DIMM_FWA_*).
type ActivateResult uint16

const (
	ActivateNone        ActivateResult = 0
	ActivateNotStaged   ActivateResult = 1
	ActivateSuccess     ActivateResult = 2
	ActivateNeedReset   ActivateResult = 3
	ActivateMediaFailed ActivateResult = 4
)

// Sizes and times (ours, but for what limits a piece: it travels in one page,
// behind the words of mailbox and function).
const (
	imageSize     = 1 << 20
	pieceSize     = 4072
	verifyTime    = 20 * time.Millisecond
	queryInterval = 10 * time.Millisecond
	queryTime     = 3 * time.Second
	activateTime  = 200 * time.Millisecond
	quiesceTime   = 3 * time.Second
)

// reset is a reset of the machine or a power-on: an image that was not staged
// is lost; at a power-on what was staged runs.
func (u *Update) reset(power bool) {
	u.advance(u.Until)
	if u.Stage != Verified {
		u.Stage, u.Received = Idle, 0
	}
	u.Until = 0
	if !power {
		return
	}
	u.Armed = false
	if u.Staged != 0 {
		u.activate(true)
	}
	u.Stage = Idle
}

func (u *Update) advance(now time.Duration) {
	if now < u.Until {
		return
	}
	switch {
	case u.Stage == Verifying && u.Fault == FaultBadImage:
		u.Stage = Refused
	case u.Stage == Verifying:
		u.Stage, u.Staged, u.Next = Verified, u.next(), 0
	case u.Stage == Activating:
		u.activate(false)
		u.Stage = Idle
	}
}

// next is the version of the image that is sent next.
func (u *Update) next() uint64 {
	if u.Next == 0 {
		return u.Running + 1
	}
	return u.Next
}

// activate makes the staged firmware the running one, unless it fails.
func (u *Update) activate(power bool) {
	switch {
	case u.Staged == 0:
		u.Result = ActivateNotStaged
	case u.Fault == FaultActivation:
		u.Result = ActivateMediaFailed
	case u.Fault == FaultNeedReset && !power:
		u.Result = ActivateNeedReset
	default:
		u.Running, u.Staged, u.Result = u.Staged, 0, ActivateSuccess
	}
}

// Word is the state in a word.
func (u *Update) Word() string {
	switch {
	case u.Stage == Receiving:
		return "receiving"
	case u.Stage == Verifying:
		return "verifying"
	case u.Stage == Activating:
		return "activating"
	case u.Armed:
		return "armed"
	case u.Staged != 0:
		return "staged"
	}
	return "idle"
}

// updateInfo is the reply of function 12 (ndctl intel.h, struct
// nd_intel_fw_info), 44 bytes.
type updateInfo struct {
	Status        Status
	StorageSize   uint32 // at 4, bytes
	MaxSend       uint32 // at 8, bytes
	QueryInterval uint32 // at 12, µs
	MaxQueryTime  uint32 // at 16, µs
	Capability    uint8  // at 20
	_             [3]byte
	FISVersion    uint32 // at 24
	Running       uint64 // at 28
	Updated       uint64 // at 36
}

func intelUpdateInfo(x *exchange) any {
	return updateInfo{
		StorageSize: imageSize, MaxSend: pieceSize,
		QueryInterval: uint32(queryInterval.Microseconds()), MaxQueryTime: uint32(queryTime.Microseconds()),
		FISVersion: 0x0201, Running: x.s.Update.Running, Updated: x.s.Update.Staged,
	}
}

// Extended statuses of functions 13 to 16 (ndctl intel.h, FW_*).
var (
	updateBusy       = extended(1) // of function 13
	updateContext    = extended(1) // of the others: another context
	updateDone       = extended(2) // of function 15
	updateWorking    = extended(2) // of function 16
	updateBadImage   = extended(3)
	updateAborted    = extended(4) // of function 15: as was asked for
	updateOutOfOrder = extended(4) // of function 16
)

type contextReply struct {
	Status  Status
	Context uint32
}

func intelUpdateStart(x *exchange) any {
	u := &x.s.Update
	if u.Fault == FaultBusy || u.Stage == Receiving || u.Stage == Verifying || u.Stage == Activating {
		return updateBusy
	}
	u.Context++
	u.Stage, u.Received = Receiving, 0
	return contextReply{Context: u.Context}
}

// piece is what precedes the data of function 14.
type piece struct{ Context, Offset, Length uint32 }

const pieceHeader = 12

// intelUpdateSend takes a piece of an image. Pieces come in order, or again.
func intelUpdateSend(x *exchange) any {
	u, in := &x.s.Update, decode[piece](x.in)
	switch {
	case in.Context != u.Context || u.Context == 0:
		return updateContext
	case u.Stage != Receiving:
		return Retry
	case in.Length > pieceSize || int(in.Length) > len(x.in)-pieceHeader:
		return Invalid
	case in.Offset > u.Received || uint64(in.Offset)+uint64(in.Length) > imageSize:
		return Invalid
	}
	u.Received = max(u.Received, in.Offset+in.Length)
	return OK
}

// finish is the input of function 15.
type finish struct {
	Control uint8
	_       [3]byte
	Context uint32
}

func intelUpdateFinish(x *exchange) any {
	u, in := &x.s.Update, decode[finish](x.in)
	switch {
	case in.Control > 1:
		return Invalid
	case in.Context != u.Context || u.Context == 0:
		return updateContext
	case u.Stage != Receiving:
		return updateDone
	case in.Control == 1:
		u.Stage, u.Received = Idle, 0
		return updateAborted
	case u.Received == 0:
		u.Stage = Refused
		return updateBadImage
	}
	u.Stage, u.Until = Verifying, x.now+verifyTime
	return OK
}

type versionReply struct {
	Status  Status
	Version uint64
}

func intelUpdateQuery(x *exchange) any {
	u := &x.s.Update
	switch {
	case decode[uint32](x.in) != u.Context || u.Context == 0:
		return updateContext
	case u.Stage == Verifying:
		return updateWorking
	case u.Stage == Refused:
		return updateBadImage
	case u.Stage != Verified:
		return updateOutOfOrder
	}
	return versionReply{Version: u.Staged}
}
