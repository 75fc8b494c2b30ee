package firmware

import (
	"encoding/binary"
	"time"
)

// Root is the family of the root device: errors of the medium by their
// address, and the scrub that finds them (ACPI, section 9.20.7.4 to 9.20.7.13).
var Root = &Family{
	Name: "root", UUID: "2f10e7a4-9e91-11e4-89d3-123b93f75cba", Number: NumberRoot, Revisions: 1,
	Functions: []Function{
		{Number: 1, Name: "ars_cap", Source: "ACPI, 9.20.7.4 Query ARS Capabilities; ndctl.h ND_CMD_ARS_CAP"},
		{Number: 2, Name: "ars_start", Source: "ACPI, 9.20.7.5 Start ARS; ndctl.h ND_CMD_ARS_START"},
		{Number: 3, Name: "ars_status", Source: "ACPI, 9.20.7.6 Query ARS Status; ndctl.h ND_CMD_ARS_STATUS"},
		{Number: 4, Name: "clear_error", Source: "ACPI, 9.20.7.7 Clear Uncorrectable Error; ndctl.h ND_CMD_CLEAR_ERROR"},
		{Number: 5, Name: "translate_spa", Source: "ACPI, 9.20.7.8 Translate SPA; Linux intel.h NFIT_CMD_TRANSLATE_SPA"},
		{Number: 7, Name: "ars_inject_set", Also: "inject_error", Source: "ACPI, 9.20.7.9 ARS Error Inject; Linux nfit.h NFIT_CMD_ARS_INJECT_SET"},
		{Number: 8, Name: "ars_inject_clear", Also: "uninject_error", Source: "ACPI, 9.20.7.10 ARS Error Inject Clear; Linux nfit.h NFIT_CMD_ARS_INJECT_CLEAR"},
		{Number: 9, Name: "ars_inject_get", Also: "inject_status", Source: "ACPI, 9.20.7.11 ARS Error Inject Status Query; Linux nfit.h NFIT_CMD_ARS_INJECT_GET"},
	},
}

// ARSConfig is how a platform scrubs.
type ARSConfig struct {
	Duration  time.Duration // of a scrub, in guest time
	Records   int           // that a reply has at most
	ClearUnit uint32        // bytes that are cleared at once: a power of two
}

// MaxRecords is how many records a reply has room for: it travels in one page.
const MaxRecords = 168

// ARS is where the address range scrub is. It is plain data, and ends with a
// power-on or reset.
type ARS struct {
	Stage        ARSStage
	From, Length uint64        // of the range asked for
	Until        time.Duration // guest time, when the scrub ends
}

// ARSStage is how far a scrub is.
type ARSStage uint8

const (
	ARSNone ARSStage = iota // since power-on or reset
	ARSRunning
	ARSDone
)

// A Record is a part of a range of addresses, on one DIMM.
type Record struct {
	Handle       uint32
	Addr, Length uint64
}

// Space is the persistent memory of a machine by its address. Ranges that
// methods are given lie within one SPA range, as Persistent says.
type Space interface {
	// Persistent says that n bytes, which are not 0, lie within one range of
	// persistent memory.
	Persistent(addr, n uint64) bool
	// Locate finds the DIMM of an address, and for how many bytes from there
	// its addresses follow each other.
	Locate(addr uint64) (handle uint32, dpa, n uint64)
	// Errors lists what is known to be poisoned, by address.
	Errors(addr, n uint64) []Record
	// Discover makes all that is poisoned known.
	Discover(addr, n uint64)
	// Clear repairs a range from its start on, and says how far that went.
	Clear(addr, n uint64) uint64
	// Inject poisons a range, which is latent unless it is to be announced.
	Inject(addr, n uint64, latent bool) error
	// Uninject takes back what was injected.
	Uninject(addr, n uint64)
	// Injected lists what was injected, in all of the memory.
	Injected() []Record
}

// Statuses of the root's functions (ACPI, 9.20.7; Linux core.c,
// xlat_bus_status).
const (
	rootInvalid Status = 2
	rootBusy    Status = 6 // of function 2: a scrub is in progress

	arsPersistent Status = 1 << 17 // of function 1: persistent memory can be scrubbed
	arsInProgress Status = 1 << 16 // of function 3
	arsNever      Status = 2 << 16 // of function 3: no scrub since power-on
	arsOverflow   Status = 3 << 16 // of function 3: it stopped for want of room
)

// span is the input of functions 1, 4, 7 and 8: a range of addresses.
type span struct{ Addr, Length uint64 }

type capReply struct { // function 1, 16 bytes
	Status    Status
	MaxOutput uint32 // at 4: bytes of a reply of function 3
	ClearUnit uint32 // at 8
	Flags     uint16 // at 12
	_         uint16
}

type startInput struct { // function 2, 24 bytes
	span
	Type  uint16 // at 16: bit 0 volatile, bit 1 persistent
	Flags uint8  // at 18: bit 1: what is known already will do
	_     [5]byte
}

const (
	typePersistent = 2
	flagShort      = 1 << 1
)

type startReply struct {
	Status  Status
	Seconds uint32 // at 4
}

type statusReply struct { // function 3, 48 bytes, then the records
	Status        Status
	Output        uint32 // at 4: bytes of the whole reply
	Addr          uint64 // at 8: of the range scrubbed
	Length        uint64 // at 16
	RestartAddr   uint64 // at 24: of what is left, after an overflow
	RestartLength uint64 // at 32
	Type          uint16 // at 40
	Flags         uint16 // at 42: bit 0 overflow
	Records       uint32 // at 44
}

type statusRecord struct { // 24 bytes
	Handle       uint32
	_            uint32
	Addr, Length uint64
}

const (
	statusHeader = 48
	recordSize   = 24
)

type clearReply struct { // function 4, 16 bytes
	Status  Status
	_       uint32
	Cleared uint64 // at 8
}

type translateReply struct { // function 5, for one DIMM, 36 bytes
	Status     Status
	Flags      uint8 // at 4
	_          [3]byte
	Length     uint64 // at 8: bytes that are translated alike
	NumNVDIMMs uint32 // at 16
	Handle     uint32 // at 20
	_          uint32
	DPA        uint64 // at 28
}

type injectInput struct { // function 7, 17 bytes
	span
	Options uint8 // at 16: bit 0: tell the operating system
}

type injectedReply struct { // function 9, then an address and a length of 8 bytes each for every record
	Status Status
	Count  uint32 // at 4
}

// maxInjected is how many of those a reply has room for.
const maxInjected = 255

func (a *ARS) advance(c ARSConfig, space Space, now time.Duration) {
	if a.Stage == ARSRunning && now >= a.Until {
		space.Discover(a.From, a.Length)
		a.Stage = ARSDone
	}
}

// Answer obeys a call of the root device. Notify in its effect is the root's:
// an error is known that the operating system was not asking for.
func (a *ARS) Answer(c ARSConfig, space Space, now time.Duration, revision, function uint32, in []byte) ([]byte, Effect) {
	if !Root.Knows(revision) {
		return encode(NotSupported), Effect{}
	}
	a.advance(c, space, now)
	switch function {
	case 0:
		return encode(Status(Root.Mask(true))), Effect{}
	case 1:
		if r := decode[span](in); !space.Persistent(r.Addr, r.Length) {
			return encode(rootInvalid), Effect{}
		}
		return encode(capReply{Status: arsPersistent, MaxOutput: uint32(statusHeader + recordSize*c.Records), ClearUnit: c.ClearUnit}), Effect{}
	case 2:
		return encode(a.start(c, space, now, decode[startInput](in))), Effect{}
	case 3:
		return a.status(c, space), Effect{}
	case 4:
		r := decode[span](in)
		if !space.Persistent(r.Addr, r.Length) || (r.Addr|r.Length)%uint64(c.ClearUnit) != 0 {
			return encode(rootInvalid), Effect{}
		}
		return encode(clearReply{Cleared: space.Clear(r.Addr, r.Length) / uint64(c.ClearUnit) * uint64(c.ClearUnit)}), Effect{}
	case 5:
		addr := decode[uint64](in)
		if !space.Persistent(addr, 1) {
			return encode(rootInvalid), Effect{}
		}
		handle, dpa, n := space.Locate(addr)
		return encode(translateReply{Length: n, NumNVDIMMs: 1, Handle: handle, DPA: dpa}), Effect{}
	case 7:
		r := decode[injectInput](in)
		if !space.Persistent(r.Addr, r.Length) {
			return encode(rootInvalid), Effect{}
		}
		announced := r.Options&1 != 0
		if space.Inject(r.Addr, r.Length, !announced) != nil {
			return encode(rootInvalid), Effect{}
		}
		return encode(OK), Effect{Notify: announced}
	case 8:
		r := decode[span](in)
		if !space.Persistent(r.Addr, r.Length) {
			return encode(rootInvalid), Effect{}
		}
		space.Uninject(r.Addr, r.Length)
		return encode(OK), Effect{}
	case 9:
		return injected(space), Effect{}
	}
	return encode(NotSupported), Effect{}
}

func (a *ARS) start(c ARSConfig, space Space, now time.Duration, in startInput) any {
	switch {
	case a.Stage == ARSRunning:
		return startReply{rootBusy, seconds(a.Until - now)}
	case in.Type&typePersistent == 0 || !space.Persistent(in.Addr, in.Length):
		return startReply{Status: rootInvalid}
	}
	a.From, a.Length = in.Addr, in.Length
	if in.Flags&flagShort != 0 {
		a.Stage = ARSDone
		return startReply{}
	}
	a.Stage, a.Until = ARSRunning, now+c.Duration
	return startReply{Seconds: seconds(c.Duration)}
}

// seconds rounds up.
func seconds(d time.Duration) uint32 { return uint32((d + time.Second - 1) / time.Second) }

// status is the reply of function 3: the errors that are known in the range
// scrubbed, as many as there is room for. Where they are more, the range ends
// before the first that is left out, and a scrub of the rest goes on there.
func (a *ARS) status(c ARSConfig, space Space) []byte {
	r := statusReply{Output: statusHeader}
	switch a.Stage {
	case ARSNone:
		r.Status = arsNever
		return encode(r)
	case ARSRunning:
		r.Status = arsInProgress
		return encode(r)
	}
	r.Addr, r.Length, r.Type = a.From, a.Length, typePersistent
	records := space.Errors(a.From, a.Length)
	if len(records) > c.Records {
		rest := records[c.Records].Addr
		records = records[:c.Records]
		r.Status, r.Flags = arsOverflow, 1
		r.Length = rest - a.From
		r.RestartAddr, r.RestartLength = rest, a.From+a.Length-rest
	}
	r.Records = uint32(len(records))
	r.Output += uint32(recordSize * len(records))
	reply := encode(r)
	for _, e := range records {
		reply = append(reply, encode(statusRecord{Handle: e.Handle, Addr: e.Addr, Length: e.Length})...)
	}
	return reply
}

// injected is the reply of function 9.
func injected(space Space) []byte {
	records := space.Injected()
	records = records[:min(len(records), maxInjected)]
	reply := encode(injectedReply{Count: uint32(len(records))})
	for _, r := range records {
		reply = binary.LittleEndian.AppendUint64(reply, r.Addr)
		reply = binary.LittleEndian.AppendUint64(reply, r.Length)
	}
	return reply
}
