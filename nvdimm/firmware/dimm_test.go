package firmware

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"
	"time"
)

// A dimm is a State that a test calls.
type dimm struct {
	t      *testing.T
	family *Family
	s      State
	now    time.Duration
	effect Effect
}

func newDIMM(t *testing.T, f *Family) *dimm { return &dimm{t: t, family: f, s: NewState()} }

// call makes a call with an input, and gives its status and the reply.
func (d *dimm) call(function uint32, in ...any) (Status, []byte) {
	d.t.Helper()
	var input []byte
	for _, v := range in {
		input, _ = binary.Append(input, binary.LittleEndian, v)
	}
	reply, effect := d.family.Answer(&d.s, d.now, 1, function, input)
	d.effect = effect
	return Status(binary.LittleEndian.Uint32(reply)), reply
}

func (d *dimm) want(want Status, what string, function uint32, in ...any) {
	d.t.Helper()
	if got, _ := d.call(function, in...); got != want {
		d.t.Errorf("%s = status %#x, want %#x", what, got, want)
	}
}

func TestUnknown(t *testing.T) {
	for _, f := range Families {
		s := NewState()
		before := fmt.Sprint(s)
		for _, revision := range []uint32{0, f.Revisions + 1, 0xffffffff} {
			for _, fn := range f.Functions {
				if reply, _ := f.Answer(&s, 0, revision, fn.Number, nil); !bytes.Equal(reply, []byte{1, 0, 0, 0}) {
					t.Errorf("%s, function %d of revision %d = % x, want status 1 alone: not supported", f.Name, fn.Number, revision, reply)
				}
			}
		}
		for _, function := range []uint32{7, 8, 9, 31, 32, 0xffffffff} {
			if reply, _ := f.Answer(&s, 0, 1, function, nil); !bytes.Equal(reply, []byte{1, 0, 0, 0}) {
				t.Errorf("%s, function %d = % x, want status 1 alone: not supported", f.Name, function, reply)
			}
		}
		if after := fmt.Sprint(s); after != before {
			t.Errorf("%s: calls that are not supported change the state:\n%s\n%s", f.Name, before, after)
		}
	}
}

func TestSMART(t *testing.T) {
	d := newDIMM(t, Intel)
	d.s.SMART = SMART{Health: Critical, MediaTemperature: Celsius(-5), ControllerTemperature: Celsius(41), Spares: 60, LifeUsed: 70, ShutdownCount: 9, Dirty: true}
	_, reply := d.call(1)
	want := "3f060000 00000000 02 3c 46 00 5080 9002 09000000"
	if got := fmt.Sprintf("%x %x %x %x %x %x %x %x %x", reply[4:8], reply[8:12], reply[12:13], reply[13:14], reply[14:15], reply[15:16], reply[16:18], reply[18:20], reply[20:24]); got != want || reply[35] != 1 {
		t.Errorf("SMART = %s, shutdown state %d, want %s and 1", got, reply[35], want)
	}
}

// TestAlarms: a threshold that is crossed is told once, and stays until it is
// read even if it passes; one that is not watched says nothing.
func TestAlarms(t *testing.T) {
	d := newDIMM(t, Intel)
	alarms := func() byte { _, reply := d.call(1); return reply[15] }
	set := func(enabled uint16, spares uint8, media, controller uint16) {
		d.want(OK, "setting thresholds", 17, thresholds{enabled, spares, media, controller})
	}
	set(0, 100, 0, 0)
	if a := alarms(); a != 0 || d.effect.Notify {
		t.Errorf("alarms that are not watched = %#x", a)
	}
	set(7, 100, 30*16, 35*16)
	if !d.effect.Notify {
		t.Errorf("thresholds that are crossed notify nobody")
	}
	set(7, 5, 80*16, 90*16) // and passes before anybody looks
	if a := alarms(); a != 7 {
		t.Errorf("alarms that went off = %#x, want 0x7", a)
	}
	if a := alarms(); a != 0 {
		t.Errorf("alarms that were read = %#x, want 0", a)
	}
	_, reply := d.call(2)
	if want := []byte{7, 0, 5, 0, 5, 0xa0, 5, 0}; !bytes.Equal(reply[4:], want) {
		t.Errorf("thresholds = % x, want % x", reply[4:], want)
	}
	d.want(Invalid, "an unknown alarm", 17, thresholds{8, 5, 0, 0})
	d.want(Invalid, "spares of 101 percent", 17, thresholds{1, 101, 0, 0})
}

func TestInjection(t *testing.T) {
	d := newDIMM(t, Intel)
	d.want(OK, "injecting all", 18, injection{0xf, 1, 99 * 16, 1, 3, 1, 1})
	if !d.effect.Notify {
		t.Errorf("a fatal DIMM notifies nobody")
	}
	want := SMART{Fatal, Celsius(99), Celsius(35), 3, 0, 1, true}
	if got := d.s.Reported(); got != want {
		t.Errorf("with all injected = %+v, want %+v", got, want)
	}
	d.want(OK, "taking back nothing", 18, injection{})
	if got := d.s.Reported(); got != want {
		t.Errorf("after taking back nothing = %+v, want %+v", got, want)
	}
	d.want(OK, "taking back all", 18, injection{Fields: 0xf})
	want = SMART{Healthy, Celsius(30), Celsius(35), 100, 0, 1, false}
	if got := d.s.Reported(); got != want {
		t.Errorf("with all taken back = %+v, want %+v: what was counted stays", got, want)
	}
	d.want(Invalid, "an unknown field", 18, injection{Fields: 0x10})
	d.want(Invalid, "a switch of 2", 18, injection{Fields: 1, SetMedia: 2})
}

// TestShutdown: what was not saved is told at the next power-on, counted if
// that was asked for, and forgotten at the one after it.
func TestShutdown(t *testing.T) {
	for _, latched := range []uint8{0, 1} {
		d := newDIMM(t, Intel)
		d.want(OK, "latching", 10, latched)
		d.s.Unsafe = true
		d.s.Reset(false)
		if d.s.SMART.Dirty {
			t.Errorf("latched %d: dirty after a reset", latched)
		}
		d.s.Reset(true)
		if s := d.s.SMART; !s.Dirty || s.ShutdownCount != uint32(latched) {
			t.Errorf("latched %d: after power-on dirty=%v, count %d", latched, s.Dirty, s.ShutdownCount)
		}
		d.s.Reset(true)
		if s := d.s.SMART; s.Dirty || s.ShutdownCount != uint32(latched) {
			t.Errorf("latched %d: after another power-on dirty=%v, count %d", latched, s.Dirty, s.ShutdownCount)
		}
		d.want(Invalid, "latching 2", 10, uint8(2))
	}
}

var (
	none      Passphrase
	key       = Passphrase{1, 2, 3}
	other     = Passphrase{4}
	masterKey = Passphrase{9}
)

// TestSecurity walks the states: what each lets through, and what it refuses.
func TestSecurity(t *testing.T) {
	d := newDIMM(t, Intel)
	state := func(state, ext byte, word string) {
		t.Helper()
		_, reply := d.call(19)
		if reply[8] != state || reply[4] != ext || d.s.Security.Word() != word {
			t.Errorf("state %#x, extended %#x, %q, want %#x, %#x, %q", reply[8], reply[4], d.s.Security.Word(), state, ext, word)
		}
	}
	state(0, 1, "disabled")
	d.want(InvalidState, "disabling what is disabled", 21, none)
	d.want(InvalidState, "unlocking what is disabled", 22, none)
	d.want(InvalidState, "freezing what is disabled", 23)
	d.want(InvalidPassphrase, "setting with a wrong old one", 20, change{key, key})
	d.want(OK, "setting", 20, change{none, key})
	state(2, 1, "unlocked")
	d.want(InvalidPassphrase, "the driver's attempt without key", 20, change{none, none})
	d.want(InvalidState, "unlocking what is unlocked", 22, key)
	d.want(OK, "freezing", 23)
	state(2|8, 1, "frozen")
	for function := uint32(20); function <= 28; function++ {
		if function != 23 && function != 26 {
			d.want(InvalidState, fmt.Sprintf("function %d while frozen", function), function, key, other)
		}
	}
	d.s.Reset(false)
	state(2|8, 1, "frozen")
	d.s.Reset(true)
	state(2|4, 1, "locked")
	d.want(InvalidState, "changing while locked", 20, change{key, other})
	d.want(InvalidState, "disabling while locked", 21, key)
	d.want(InvalidPassphrase, "unlocking with a wrong one", 22, other)
	d.want(OK, "unlocking", 22, key)
	state(2, 1, "unlocked")
	d.want(OK, "changing", 20, change{key, other})
	d.want(InvalidPassphrase, "disabling with the old one", 21, key)
	d.want(OK, "disabling", 21, other)
	state(0, 1, "disabled")

	d.want(OK, "setting again", 20, change{none, key})
	d.want(InvalidPassphrase, "erasing with a wrong one", 24, other)
	if d.effect.Erase != EraseNothing {
		t.Errorf("a refused erase erases")
	}
	d.want(OK, "erasing", 24, key)
	if d.effect.Erase != EraseData {
		t.Errorf("an erase erases %d, want the data and not the labels", d.effect.Erase)
	}
	state(0, 1, "disabled")

	d.want(OK, "setting the master passphrase", 27, change{none, masterKey})
	d.want(OK, "setting once more", 20, change{none, key})
	d.s.Reset(true)
	d.want(InvalidPassphrase, "erasing as master with the user's", 28, key)
	d.want(OK, "erasing as master", 28, masterKey)
	state(0, 1, "disabled")
}

// TestSecurityLimit: wrong passphrases are counted until the next power-on, and
// the attempt of a driver that has no key is not one.
func TestSecurityLimit(t *testing.T) {
	d := newDIMM(t, Intel)
	d.want(OK, "setting", 20, change{none, key})
	for range 100 {
		d.want(InvalidPassphrase, "the driver's attempt without key", 20, change{none, none})
	}
	for range maxFailures {
		d.want(InvalidPassphrase, "a wrong one", 21, other)
	}
	d.want(InvalidState, "the right one, too late", 21, key)
	if _, reply := d.call(19); reply[8] != 2|0x10 {
		t.Errorf("state %#x, want enabled and at its limit", reply[8])
	}
	d.s.Reset(true)
	d.want(OK, "the right one after a power-on", 22, key)
}

func TestOverwrite(t *testing.T) {
	d := newDIMM(t, Intel)
	d.want(extended(2), "asking for an overwrite that never was", 26)
	d.want(OK, "setting", 20, change{none, key})
	d.want(OK, "overwriting", 25, key)
	if d.effect.Erase != EraseAll {
		t.Errorf("an overwrite erases %d, want data and labels", d.effect.Erase)
	}
	d.want(extended(1), "asking during it", 26)
	d.want(InvalidState, "changing during it", 20, change{key, other})
	d.s.Reset(false) // the clock starts again, and so does the overwrite
	d.now = overwriteTime - 1
	d.want(extended(1), "asking at its very end", 26)
	d.now = overwriteTime
	d.want(OK, "asking after it", 26)
	if !d.s.Security.Enabled || d.s.Security.Word() != "unlocked" {
		t.Errorf("after an overwrite the DIMM is %s, want it as before", d.s.Security.Word())
	}
}

// TestUpdate walks through an update, and asks at each step for what is out of
// turn.
func TestUpdate(t *testing.T) {
	d := newDIMM(t, Intel)
	send := func(context, offset uint32, n int) (Status, []byte) {
		return d.call(14, piece{context, offset, uint32(n)}, make([]byte, n))
	}
	d.want(updateContext, "sending before the start", 14, piece{})
	d.want(updateContext, "finishing before the start", 15, finish{})
	d.want(updateContext, "asking before the start", 16, uint32(0))
	d.want(OK, "starting", 13)
	d.want(updateBusy, "starting twice", 13)
	d.want(updateOutOfOrder, "asking before the end", 16, uint32(1))
	for _, c := range []struct {
		context, offset uint32
		n               int
		want            Status
	}{
		{2, 0, 8, updateContext}, {1, 8, 8, Invalid}, {1, 0, 4000, OK}, {1, 4000, pieceSize, OK}, {1, 0, 4000, OK},
		{1, 8072, pieceSize + 1, Invalid}, {1, 0xffffffff, 8, Invalid},
	} {
		if got, _ := send(c.context, c.offset, c.n); got != c.want {
			t.Errorf("sending %d bytes at %d in context %d = %#x, want %#x", c.n, c.offset, c.context, got, c.want)
		}
	}
	d.want(Invalid, "a piece that is longer than the call", 14, piece{1, 8072, 16}, make([]byte, 8))
	d.want(Invalid, "an unknown end", 15, finish{Control: 2, Context: 1})
	d.want(updateContext, "finishing in another context", 15, finish{Context: 2})
	d.want(OK, "finishing", 15, finish{Context: 1})
	d.want(updateWorking, "asking at once", 16, uint32(1))
	d.want(updateDone, "finishing twice", 15, finish{Context: 1})
	d.now = verifyTime
	status, reply := d.call(16, uint32(1))
	if version := binary.LittleEndian.Uint64(reply[4:]); status != OK || version != 0x10001 {
		t.Errorf("asking after the check = %#x, version %#x, want 0x10001", status, version)
	}
	if d.s.Update.Word() != "staged" || d.s.Update.Running != 0x10000 {
		t.Errorf("after the update the DIMM is %s and runs %#x", d.s.Update.Word(), d.s.Update.Running)
	}
	d.s.Reset(false)
	if u := d.s.Update; u.Running != 0x10000 || u.Staged != 0x10001 {
		t.Errorf("a reset makes %#x run, %#x staged, want 0x10000 and 0x10001", u.Running, u.Staged)
	}
	d.s.Reset(true)
	if u := d.s.Update; u.Running != 0x10001 || u.Staged != 0 || u.Result != ActivateSuccess {
		t.Errorf("a power-on makes %#x run, %#x staged, result %d", u.Running, u.Staged, u.Result)
	}
}

// TestUpdateFails: half an image is lost with the power, an abort and a bad one
// leave what runs, and faults hold until they are taken away.
func TestUpdateFails(t *testing.T) {
	d := newDIMM(t, Intel)
	whole := func() {
		_, reply := d.call(13)
		context := binary.LittleEndian.Uint32(reply[4:])
		d.want(OK, "sending", 14, piece{context, 0, 8}, uint64(0))
		d.want(OK, "finishing", 15, finish{Context: context})
		d.now += verifyTime
	}
	d.want(OK, "starting", 13)
	d.want(OK, "sending", 14, piece{1, 0, 8}, uint64(0))
	d.s.Reset(true)
	d.now = 0
	d.want(Retry, "going on after a power-on", 14, piece{1, 8, 8}, uint64(0))
	d.want(OK, "starting again", 13)
	d.want(updateAborted, "aborting", 15, finish{Control: 1, Context: 2})
	d.want(OK, "starting after that", 13)
	d.want(updateBadImage, "finishing without an image", 15, finish{Context: 3})

	d.s.Update.Fault = FaultBusy
	d.want(updateBusy, "starting a busy one", 13)
	d.s.Update.Fault = FaultBadImage
	whole()
	d.want(updateBadImage, "asking for a bad one", 16, d.s.Update.Context)
	if d.s.Update.Staged != 0 {
		t.Errorf("a bad image is staged")
	}
	for _, c := range []struct {
		fault   Fault
		live    ActivateResult
		power   ActivateResult
		running uint64 // after the power-on
	}{
		{FaultActivation, ActivateMediaFailed, ActivateMediaFailed, 0x10000},
		{FaultNeedReset, ActivateNeedReset, ActivateSuccess, 0x10001},
	} {
		d.s.Update.Fault = c.fault
		d.s.Update.Running, d.s.Update.Staged = 0x10000, 0
		whole()
		d.want(OK, "arming", 30, uint8(1))
		if r := AnswerActivation([]*State{&d.s}, d.now, 1, 2, []byte{1}); !bytes.Equal(r, make([]byte, 4)) {
			t.Errorf("%s: activating = % x", c.fault, r)
		}
		d.now += activateTime
		d.call(29)
		if u := d.s.Update; u.Result != c.live || u.Running != 0x10000 {
			t.Errorf("%s: an activation ends in %d and runs %#x, want %d and 0x10000", c.fault, u.Result, u.Running, c.live)
		}
		d.s.Reset(true)
		d.now = 0
		if u := d.s.Update; u.Result != c.power || u.Running != c.running {
			t.Errorf("%s: a power-on ends in %d and runs %#x, want %d and %#x", c.fault, u.Result, u.Running, c.power, c.running)
		}
	}
}

func TestActivation(t *testing.T) {
	a, b := newDIMM(t, Intel), newDIMM(t, Intel)
	states := []*State{&a.s, &b.s}
	bus := func(now time.Duration) byte { return AnswerActivation(states, now, 1, 1, nil)[6] }
	ask := func(now time.Duration, function uint32, in ...byte) Status {
		return Status(binary.LittleEndian.Uint32(AnswerActivation(states, now, 1, function, in)))
	}
	if s := ask(0, 2, 1); s != activateNotArmed {
		t.Errorf("activating what is not armed = %#x, want %#x", s, activateNotArmed)
	}
	a.s.Update.Staged = 7
	a.want(OK, "arming", 30, uint8(1))
	b.want(OK, "arming one without an image", 30, uint8(1))
	a.want(Invalid, "arming 2", 30, uint8(2))
	if s := bus(0); s != activateArmed {
		t.Errorf("the bus is in state %d, want %d: armed", s, activateArmed)
	}
	if s := ask(0, 2, 2); s != Invalid {
		t.Errorf("an unknown state of the devices = %#x, want invalid", s)
	}
	if s := ask(0, 2, 0); s != OK || bus(0) != activateBusy || ask(0, 2, 1) != activateTooBusy {
		t.Errorf("activating = %#x, and the bus is in state %d", s, bus(0))
	}
	a.want(Retry, "arming a busy one", 30, uint8(1))
	if s := bus(activateTime); s != activateIdle || a.s.Update.Running != 7 || a.s.Update.Result != ActivateSuccess || b.s.Update.Result != ActivateNotStaged {
		t.Errorf("after that the bus is in state %d, the DIMMs in %+v and %+v", s, a.s.Update, b.s.Update)
	}
	if s := ask(0, 3); s != NotSupported {
		t.Errorf("function 3 = %#x, want not supported", s)
	}
}

// TestOthers: the families that only tell of the health tell the same.
func TestOthers(t *testing.T) {
	for _, c := range []struct {
		smart  SMART
		msft   string
		hyperv uint32
		hpe1   string
	}{
		{SMART{MediaTemperature: Celsius(30), Spares: 90, LifeUsed: 20}, "0000 1e00 00 00 50", 0, "3f000000 00 e001 5a 0000 14 02"},
		{SMART{Health: NonCritical, LifeUsed: 100}, "0000 0000 00 08 00", 8, "3f000000 01 0000 00 0000 64 02"},
		{SMART{Health: Critical, Dirty: true}, "0300 0000 00 00 64", 1, "3f000000 02 0000 00 0000 00 00"},
		{SMART{Health: Fatal, MediaTemperature: Celsius(-3)}, "0700 0000 00 00 00", 4, "3f000000 04 3080 00 0000 00 02"},
	} {
		d := newDIMM(t, MSFT)
		d.s.SMART = c.smart
		_, r := d.call(11)
		if got := fmt.Sprintf("%x %x %x %x %x", r[4:6], r[6:8], r[8:9], r[9:10], r[10:11]); got != c.msft {
			t.Errorf("msft, %+v = %s, want %s", c.smart, got, c.msft)
		}
		d.family = HyperV
		if _, r = d.call(1); binary.LittleEndian.Uint32(r[4:]) != c.hyperv {
			t.Errorf("hyperv, %+v = % x, want %d", c.smart, r[4:], c.hyperv)
		}
		d.family = HPE1
		_, r = d.call(1, uint32(0xffffffff))
		if got := fmt.Sprintf("%x %x %x %x %x %x %x", r[4:8], r[8:9], r[9:11], r[11:12], r[12:14], r[14:15], r[15:16]); got != c.hpe1 {
			t.Errorf("hpe1, %+v = %s, want %s", c.smart, got, c.hpe1)
		}
	}
}
