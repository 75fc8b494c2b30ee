package firmware

import (
	"crypto/subtle"
	"time"
)

// Passphrase is what unlocks a DIMM. One of zeros is none.
type Passphrase [32]byte

// Security is who may have a DIMM's contents.
type Security struct {
	Enabled bool // there is a passphrase
	Locked  bool // it has to be given before the contents can be had
	Frozen  bool // nothing changes before the next power-on
	Master  bool // there is a second passphrase, which can only erase

	User, MasterKey          Passphrase
	Failures, MasterFailures uint8 // wrong passphrases since power-on
	Overwriting              bool
	OverwriteEnd             time.Duration // guest time since power-on or reset
	Overwritten              bool          // since power-on
}

// maxFailures is how many wrong passphrases a DIMM takes until the next
// power-on (ours: the specification leaves the number to the DIMM).
const maxFailures = 10

// overwriteTime is how long an overwrite takes (ours: true ones take minutes a
// gigabyte).
const overwriteTime = 5 * time.Second

// reset is a reset of the machine or a power-on: an overwrite goes on.
func (s *Security) reset(power bool) {
	if s.Overwriting {
		s.OverwriteEnd = overwriteTime
	}
	if power {
		s.Failures, s.MasterFailures, s.Frozen, s.Overwritten = 0, 0, false, false
		s.Locked = s.Enabled
	}
}

func (s *Security) advance(now time.Duration) {
	if s.Overwriting && now >= s.OverwriteEnd {
		s.Overwriting, s.Overwritten = false, true
	}
}

// Advance does what was to happen by now.
func (s *State) Advance(now time.Duration) { s.advance(now) }

// Lock locks the DIMM as a power-on does. It fails if there is no passphrase.
func (s *Security) Lock() bool {
	s.Locked = s.Enabled
	return s.Locked
}

// Word is the state in a word, as Linux has it in sysfs.
func (s *Security) Word() string {
	switch {
	case s.Overwriting:
		return "overwrite"
	case !s.Enabled:
		return "disabled"
	case s.Locked:
		return "locked"
	case s.Frozen:
		return "frozen"
	}
	return "unlocked"
}

// Bits of the security state (Linux intel.h, ND_INTEL_SEC_STATE_*).
const (
	securityEnabled   = 1 << 1
	securityLocked    = 1 << 2
	securityFrozen    = 1 << 3
	securityLimit     = 1 << 4
	securityOverwrite = 1 << 6

	masterEnabled = 1 << 0 // of the extended state, ND_INTEL_SEC_ESTATE_*
	masterLimit   = 1 << 1
)

// securityReply is the reply of function 19 (Linux intel.h, struct
// nd_intel_get_security_state), 12 bytes.
type securityReply struct {
	Status   Status
	Extended uint8 // at 4
	_        [3]byte
	State    uint8 // at 8
	_        [3]byte
}

func intelSecurityState(x *exchange) any {
	s := &x.s.Security
	r := securityReply{
		State:    bit(s.Enabled)*securityEnabled | bit(s.Locked)*securityLocked | bit(s.Frozen)*securityFrozen | bit(s.exhausted())*securityLimit | bit(s.Overwriting)*securityOverwrite,
		Extended: bit(s.Master)*masterEnabled | bit(s.MasterFailures >= maxFailures)*masterLimit,
	}
	return r
}

func (s *Security) exhausted() bool { return s.Failures >= maxFailures }

// busy says that no function may change anything.
func (s *Security) busy() bool { return s.Frozen || s.Overwriting }

// check compares a passphrase, and counts a wrong one.
func check(given, want Passphrase, failures *uint8) Status {
	switch {
	case *failures >= maxFailures:
		return InvalidState
	case subtle.ConstantTimeCompare(given[:], want[:]) == 1:
		return OK
	case given == Passphrase{}:
		// The kernel tries it on every DIMM that it has no key for (Linux
		// security.c, __nvdimm_security_revalidate).
		return InvalidPassphrase
	}
	*failures++
	return InvalidPassphrase
}

// A change is the input of functions 20 and 27, 64 bytes.
type change struct{ Old, New Passphrase }

func intelSetPassphrase(x *exchange) any {
	s, in := &x.s.Security, decode[change](x.in)
	if s.busy() || s.Locked {
		return InvalidState
	}
	if status := check(in.Old, s.User, &s.Failures); status != OK {
		return status
	}
	s.Enabled, s.User, s.Failures = true, in.New, 0
	return OK
}

func intelDisablePassphrase(x *exchange) any {
	s := &x.s.Security
	if s.busy() || !s.Enabled || s.Locked {
		return InvalidState
	}
	if status := check(decode[Passphrase](x.in), s.User, &s.Failures); status != OK {
		return status
	}
	s.Enabled, s.User, s.Failures = false, Passphrase{}, 0
	return OK
}

func intelUnlock(x *exchange) any {
	s := &x.s.Security
	if s.busy() || !s.Enabled || !s.Locked {
		return InvalidState
	}
	if status := check(decode[Passphrase](x.in), s.User, &s.Failures); status != OK {
		return status
	}
	s.Locked, s.Failures = false, 0
	return OK
}

func intelFreeze(x *exchange) any {
	s := &x.s.Security
	if s.Overwriting || !s.Enabled || s.Locked {
		return InvalidState
	}
	s.Frozen = true
	return OK
}

// erase takes the passphrase away, and with it what it protected.
func (s *Security) erase() {
	s.Enabled, s.Locked, s.User, s.Failures = false, false, Passphrase{}, 0
}

func intelErase(x *exchange) any {
	s := &x.s.Security
	if s.busy() {
		return InvalidState
	}
	if status := check(decode[Passphrase](x.in), s.User, &s.Failures); status != OK {
		return status
	}
	s.erase()
	s.MasterKey, s.MasterFailures = Passphrase{}, 0 // as nfit_test does
	x.effect.Erase = EraseData
	return OK
}

// intelOverwrite starts an overwrite; the passphrase is the same after it.
func intelOverwrite(x *exchange) any {
	s := &x.s.Security
	if s.busy() {
		return InvalidState
	}
	if status := check(decode[Passphrase](x.in), s.User, &s.Failures); status != OK {
		return status
	}
	s.Overwriting, s.OverwriteEnd, s.Overwritten = true, x.now+overwriteTime, false
	x.effect.Erase = EraseAll
	return OK
}

func intelQueryOverwrite(x *exchange) any {
	switch s := &x.s.Security; {
	case s.Overwriting:
		return extended(1)
	case !s.Overwritten:
		return extended(2) // none since power-on
	}
	return OK
}

func intelSetMasterPassphrase(x *exchange) any {
	s, in := &x.s.Security, decode[change](x.in)
	switch {
	case !s.Master:
		return NotSupported
	case s.busy():
		return InvalidState
	}
	if status := check(in.Old, s.MasterKey, &s.MasterFailures); status != OK {
		return status
	}
	s.MasterKey, s.MasterFailures = in.New, 0
	return OK
}

func intelMasterErase(x *exchange) any {
	s := &x.s.Security
	switch {
	case !s.Master:
		return NotSupported
	case s.busy():
		return InvalidState
	}
	if status := check(decode[Passphrase](x.in), s.MasterKey, &s.MasterFailures); status != OK {
		return status
	}
	s.erase()
	s.MasterFailures = 0
	x.effect.Erase = EraseData
	return OK
}
