package firmware

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"
)

// A script is what a fuzz target does to devices: operations of a byte, and
// what follows.
//
//	c WHO FUNCTION REVISION N ARGUMENT  a call, with N bytes
//	w N                                 N*40 ms pass
//	p, r                                power-on, reset
//	u                                   a power failure at which nothing is saved
//	l                                   the host locks the DIMM
//	f N                                 a fault of updates
type script []byte

func call(who, function byte, argument ...byte) []byte {
	return append([]byte{'c', who, function, 1, byte(len(argument))}, argument...)
}

// next takes n bytes, fewer at the end.
func (s *script) next(n int) []byte {
	n = min(n, len(*s))
	p := (*s)[:n:n]
	*s = (*s)[n:]
	return p
}

func (s *script) byte() byte {
	if p := s.next(1); len(p) == 1 {
		return p[0]
	}
	return 0
}

func binaries(v ...any) (p []byte) {
	for _, x := range v {
		p, _ = binary.Append(p, binary.LittleEndian, x)
	}
	return p
}

// maxReply is how long a reply may be: it travels in a page, behind the page's
// length and status.
const maxReply = 4096 - 8

// fuzzFamily makes calls of a family, in and out of order. What is unknown says
// so and changes nothing; every reply is a status or a whole reply; zeros behind
// an input change nothing; and the DIMM never gets to where no DIMM may be.
func fuzzFamily(f *testing.F, family *Family, sizes map[uint32]int, seeds ...[]byte) {
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		s, now, rest := NewState(), time.Duration(0), script(in)
		for steps := 0; len(rest) > 0 && steps < 200; steps++ {
			switch kind := rest.byte(); kind {
			case 'p', 'r':
				s.Reset(kind == 'p')
				now = 0
				if kind == 'p' && s.Security.Enabled != s.Security.Locked {
					t.Fatalf("step %d: after a power-on the DIMM is %s", steps, s.Security.Word())
				}
			case 'w':
				now += time.Duration(rest.byte()) * 40 * time.Millisecond
			case 'u':
				s.Unsafe = true
			case 'l':
				s.Security.Lock()
			case 'f':
				s.Update.Fault = append([]Fault{NoFault}, Faults...)[int(rest.byte())%(len(Faults)+1)]
			case 'c':
				head := append(rest.next(4), 0, 0, 0, 0)
				function, revision := uint32(head[1]), uint32(head[2])
				argument := rest.next(int(head[3]))
				before := s
				reply, effect := family.Answer(&s, now, revision, function, argument)
				what := fmt.Sprintf("step %d, function %d of revision %d, % x", steps, function, revision, argument)
				checkReply(t, what, family, sizes, revision, function, reply)
				if fn := family.Function(function); fn == nil || fn.answer == nil || !family.Knows(revision) {
					if !reflect.DeepEqual(s, before) || effect != (Effect{}) {
						t.Fatalf("%s: it is unknown, and makes %+v of %+v", what, s, before)
					}
					continue
				}
				if before.Update.Running != s.Update.Running {
					t.Fatalf("%s: other firmware runs, which nobody activated", what)
				}
				before.advance(now)
				checkCall(t, what, before, s, function, argument, reply, effect)
				if function != 14 || family != Intel { // whose data are as long as the input
					again := before
					longer, _ := family.Answer(&again, now, revision, function, append(slices.Clone(argument), make([]byte, 70)...))
					if !bytes.Equal(longer, reply) || !reflect.DeepEqual(again, s) {
						t.Fatalf("%s: with zeros behind it % x, not % x", what, longer, reply)
					}
				}
			}
			checkState(t, steps, s)
		}
	})
}

func checkReply(t *testing.T, what string, family *Family, sizes map[uint32]int, revision, function uint32, reply []byte) {
	t.Helper()
	if len(reply) < 4 || len(reply) > maxReply {
		t.Fatalf("%s: a reply of %d bytes", what, len(reply))
	}
	status := Status(binary.LittleEndian.Uint32(reply))
	fn := family.Function(function)
	switch {
	case fn == nil || fn.answer == nil || !family.Knows(revision):
		if status != NotSupported || len(reply) != 4 {
			t.Fatalf("%s: % x, want not supported", what, reply)
		}
	case status == OK && len(reply) != sizes[function]:
		t.Fatalf("%s: %d bytes, want %d", what, len(reply), sizes[function])
	case status != OK && len(reply) != 4:
		t.Fatalf("%s: status %#x and %d bytes more", what, status, len(reply)-4)
	}
}

// checkCall holds what a call may do, and when.
func checkCall(t *testing.T, what string, before, after State, function uint32, argument, reply []byte, effect Effect) {
	t.Helper()
	ok := Status(binary.LittleEndian.Uint32(reply)) == OK
	was, is := before.Security, after.Security
	given := decode[Passphrase](argument)
	if was != is && (was.Frozen || was.Overwriting) {
		t.Fatalf("%s: it makes %+v of %+v, which is frozen or is being overwritten", what, is, was)
	}
	keys := map[uint32]Passphrase{20: was.User, 21: was.User, 22: was.User, 24: was.User, 25: was.User, 27: was.MasterKey, 28: was.MasterKey}
	if want, needs := keys[function]; needs && ok && given != want {
		t.Fatalf("%s: it is obeyed with a passphrase that is not the DIMM's", what)
	}
	if is.User != was.User && (!ok || !slices.Contains([]uint32{20, 21, 24, 28}, function)) {
		t.Fatalf("%s: it changes the passphrase", what)
	}
	if was.Locked && !is.Locked && (!ok || !slices.Contains([]uint32{22, 24, 28}, function)) {
		t.Fatalf("%s: it unlocks the DIMM", what)
	}
	if function != 22 && was.Locked && !is.Locked && effect.Erase == EraseNothing {
		t.Fatalf("%s: it unlocks the DIMM with its data", what)
	}
	if want := map[uint32]Erase{24: EraseData, 25: EraseAll, 28: EraseData}[function]; ok && effect.Erase != want || !ok && effect.Erase != EraseNothing {
		t.Fatalf("%s: it erases %d", what, effect.Erase)
	}
	if before.Update.Staged != after.Update.Staged {
		t.Fatalf("%s: it stages firmware before that is checked", what)
	}
	if effect.Notify && after.Reported() == before.Reported() && after.Thresholds == before.Thresholds && after.Alarms() == 0 && after.Reported().Health == Healthy && !after.SMART.Dirty {
		t.Fatalf("%s: a guest is told of a DIMM that is well, and as before", what)
	}
}

// checkState holds what is so at any time.
func checkState(t *testing.T, steps int, s State) {
	t.Helper()
	switch sec, u := s.Security, s.Update; {
	case sec.Locked && !sec.Enabled, sec.Frozen && !sec.Enabled, sec.Failures > maxFailures, sec.MasterFailures > maxFailures,
		!sec.Enabled && sec.User != Passphrase{}:
		t.Fatalf("step %d: security is %+v", steps, sec)
	case u.Received > imageSize, u.Stage > Activating, u.Running == 0:
		t.Fatalf("step %d: the update is %+v", steps, u)
	case s.Thresholds.Enabled&^allAlarms != 0, s.Alarms()&^allAlarms != 0, s.Reported().Spares > 100, s.Thresholds.Spares > 100:
		t.Fatalf("step %d: health is %+v, thresholds %+v, alarms %#x", steps, s.Reported(), s.Thresholds, s.Alarms())
	}
}

// intelSizes are the replies of status 0, in bytes.
var intelSizes = map[uint32]int{
	1: 132, 2: 12, 3: 8, 10: 4, 12: 44, 13: 8, 14: 4, 15: 4, 16: 12, 17: 4, 18: 4, 19: 12,
	20: 4, 21: 4, 22: 4, 23: 4, 24: 4, 25: 4, 26: 4, 27: 4, 28: 4, 29: 14, 30: 4,
}

func FuzzIntel(f *testing.F) {
	wait := []byte("w\xff")
	fuzzFamily(f, Intel, intelSizes,
		slices.Concat(call(0, 20, binaries(none, key)...), []byte("p"), call(0, 22, other[:]...), call(0, 22, key[:]...), call(0, 23), call(0, 24, key[:]...), []byte("p"), call(0, 22, key[:]...), call(0, 25, key[:]...), call(0, 26), wait, call(0, 26)),
		slices.Concat(call(0, 27, binaries(none, masterKey)...), call(0, 20, binaries(none, key)...), []byte("l"), call(0, 28, key[:]...), call(0, 28, masterKey[:]...), call(0, 19)),
		slices.Concat(call(0, 13), call(0, 14, binaries(piece{1, 0, 8}, uint64(1))...), call(0, 15, binaries(finish{Context: 1})...), wait, call(0, 16, 1), call(0, 30, 1), call(0, 29), []byte("p"), call(0, 12)),
		slices.Concat([]byte("f\x02"), call(0, 13), call(0, 14, binaries(piece{1, 0, 8}, uint64(1))...), call(0, 15, binaries(finish{Context: 1})...), wait, call(0, 16, 1), call(0, 15, binaries(finish{Control: 1, Context: 1})...)),
		slices.Concat(call(0, 17, binaries(thresholds{7, 50, 16, 16})...), call(0, 18, binaries(injection{0xf, 1, 0x8010, 1, 3, 1, 1})...), call(0, 1), call(0, 2), call(0, 10, 1), []byte("up"), call(0, 1), call(0, 3), call(0, 18, binaries(injection{Fields: 0xf})...)),
	)
}

func FuzzMSFT(f *testing.F) {
	fuzzFamily(f, MSFT, map[uint32]int{11: 13}, slices.Concat(call(0, 11), []byte("up"), call(0, 11), call(0, 1)))
}

func FuzzHyperV(f *testing.F) {
	fuzzFamily(f, HyperV, map[uint32]int{1: 8, 2: 8}, slices.Concat(call(0, 1), call(0, 2), []byte("up"), call(0, 2), call(0, 3)))
}

func FuzzHPE1(f *testing.F) {
	fuzzFamily(f, HPE1, map[uint32]int{1: 128, 2: 36}, slices.Concat(call(0, 1, 0xff), call(0, 1, 0xff, 0xff, 0xff, 0xff), call(0, 2), []byte("up"), call(0, 1)))
}

// FuzzActivation has DIMMs updated and armed, and the bus activate them: only an
// activation or a power-on makes another firmware run, and only one that was
// staged; the bus is busy as long as one of them is.
func FuzzActivation(f *testing.F) {
	update := func(who byte) []byte {
		return slices.Concat(call(who, 13), call(who, 14, binaries(piece{1, 0, 8}, uint64(1))...), call(who, 15, binaries(finish{Context: 1})...))
	}
	f.Add(slices.Concat(update(0), update(1), []byte("w\x02"), call(0, 16, 1), call(0, 30, 1), call(1, 30, 1), call(0xff, 1), call(0xff, 2, 1), call(0xff, 1), []byte("w\x02"), call(0xff, 2, 1), []byte("w\xff"), call(0xff, 1), call(0, 29), call(2, 29)))
	f.Add(slices.Concat(call(2, 30, 1), call(0xff, 2), []byte("r"), call(0xff, 1), []byte("f\x03"), call(0xff, 2, 2), call(0xff, 3), []byte("p"), call(0xff, 1)))
	f.Fuzz(func(t *testing.T, in []byte) {
		a, b, c := NewState(), NewState(), NewState()
		states := []*State{&a, &b, &c}
		now, rest := time.Duration(0), script(in)
		for steps := 0; len(rest) > 0 && steps < 200; steps++ {
			switch kind := rest.byte(); kind {
			case 'p', 'r':
				now = 0
				for _, s := range states {
					staged, runs := s.Update, s.Update.Running
					s.Reset(kind == 'p')
					staged.advance(staged.Until) // what had been under way
					if u := s.Update; u.Running != runs && u.Running != staged.Running && u.Running != staged.Staged {
						t.Fatalf("step %d: a reset makes %#x run, of %+v", steps, u.Running, staged)
					}
				}
			case 'w':
				now += time.Duration(rest.byte()) * 40 * time.Millisecond
			case 'f':
				b.Update.Fault = append([]Fault{NoFault}, Faults...)[int(rest.byte())%(len(Faults)+1)]
			case 'c':
				head := append(rest.next(4), 0, 0, 0, 0)
				who, function, revision := head[0], uint32(head[1]), uint32(head[2])
				argument := rest.next(int(head[3]))
				if who != 0xff {
					Intel.Answer(states[int(who)%len(states)], now, revision, function, argument)
					continue
				}
				reply := AnswerActivation(states, now, revision, function, argument)
				status := Status(binary.LittleEndian.Uint32(reply))
				armed, busy := 0, false
				for _, s := range states {
					if s.Update.Armed {
						armed++
					}
					busy = busy || s.Update.Stage == Activating
				}
				switch {
				case !Activation.Knows(revision), function != 1 && function != 2:
					if status != NotSupported || len(reply) != 4 {
						t.Fatalf("step %d: function %d of revision %d = % x, want not supported", steps, function, revision, reply)
					}
				case function == 2 && status == OK:
					if armed != 0 || !busy || len(reply) != 4 {
						t.Fatalf("step %d: after an activation %d are armed, busy %v", steps, armed, busy)
					}
				case function == 1:
					want := activateIdle
					if busy {
						want = activateBusy
					} else if armed > 0 {
						want = activateArmed
					}
					if len(reply) != 40 || status != OK || int(reply[6]) != want || binary.LittleEndian.Uint64(reply[8:]) != uint64(armed)*1e6 {
						t.Fatalf("step %d: the bus, with %d armed and busy %v = % x", steps, armed, busy, reply)
					}
				}
			}
			for _, s := range states {
				checkState(t, steps, *s)
			}
		}
	})
}

// A medium is a Space of two DIMMs, one behind the other, kept line by line.
type medium struct{ lines [mediumLines]line }

const (
	mediumBase  = 1 << 32
	mediumLines = 128 // of which half are each DIMM's
	mediumSize  = mediumLines * LineSize
)

// of are the lines of a range, even in part.
func (m *medium) of(addr, n uint64) (int, int) {
	at := addr - mediumBase
	return int(at / LineSize), int((at + n + LineSize - 1) / LineSize)
}

func (m *medium) Persistent(addr, n uint64) bool {
	return n > 0 && addr >= mediumBase && n <= mediumSize && addr-mediumBase <= mediumSize-n
}

func (m *medium) Locate(addr uint64) (handle uint32, dpa, n uint64) {
	const half = mediumSize / 2
	at := addr - mediumBase
	return uint32(at/half) + 1, at % half, half - at%half
}

// list makes records of lines of a kind, as far as they are in a range.
func (m *medium) list(addr, n uint64, kind func(line) bool) (list []Record) {
	from, to := m.of(addr, n)
	for i := from; i < to; i++ {
		if !kind(m.lines[i]) {
			continue
		}
		start, end := max(mediumBase+uint64(i)*LineSize, addr), min(mediumBase+uint64(i+1)*LineSize, addr+n)
		handle, _, _ := m.Locate(start)
		if k := len(list); k > 0 && list[k-1].Handle == handle && list[k-1].Addr+list[k-1].Length == start {
			list[k-1].Length += end - start
			continue
		}
		list = append(list, Record{handle, start, end - start})
	}
	return list
}

func (m *medium) each(addr, n uint64, change func(*line)) {
	from, to := m.of(addr, n)
	for i := from; i < to; i++ {
		change(&m.lines[i])
	}
}

func known(l line) bool { return l.poisoned && !l.latent }

func (m *medium) Errors(addr, n uint64) []Record { return m.list(addr, n, known) }
func (m *medium) Discover(addr, n uint64)        { m.each(addr, n, func(l *line) { l.latent = false }) }
func (m *medium) Injected() []Record {
	return m.list(mediumBase, mediumSize, func(l line) bool { return l.injected })
}

func (m *medium) Clear(addr, n uint64) uint64 {
	from, to := m.of(addr, n)
	for i := from; i < to; i++ {
		if m.lines[i].stuck {
			return uint64(i-from) * LineSize
		}
		m.lines[i] = line{}
	}
	return n
}

func (m *medium) Inject(addr, n uint64, latent bool) error {
	m.each(addr, n, func(l *line) { *l = line{true, latent && !known(*l), true, l.stuck} })
	return nil
}

func (m *medium) Uninject(addr, n uint64) {
	m.each(addr, n, func(l *line) {
		if l.injected {
			*l = line{}
		}
	})
}

// FuzzRoot makes the calls of the root device. A scrub that is over tells, with
// the scrubs of the rest that it asks for, of each line that is known to be bad
// in its range, once, and of no other; clears are whole units and end at what
// is beyond repair; nothing but a scrub finds what is latent.
func FuzzRoot(f *testing.F) {
	span := func(addr, n uint64) []byte { return binaries(uint64(mediumBase+addr), n) }
	const persistent = typePersistent
	f.Add(slices.Concat(call(0, 1, span(0, mediumSize)...), call(0, 7, append(span(64, 128), 1)...), call(0, 7, append(span(1024, 64), 0)...), call(0, 9), call(0, 2, append(span(0, mediumSize), persistent)...), call(0, 3), []byte("w\xff"), call(0, 3), call(0, 5, span(64, 0)...), call(0, 4, span(0, 256)...), call(0, 8, span(0, mediumSize)...), call(0, 3)))
	f.Add(slices.Concat([]byte("s\x05"), call(0, 7, append(span(4000, 300), 1)...), call(0, 2, append(span(100, 5000), persistent, 0, 2)...), call(0, 3), call(0, 4, span(256, 256)...), call(0, 2, append(span(0, 64), 1)...), []byte("r"), call(0, 3), call(0, 6), call(0, 0)))
	f.Add(slices.Concat(call(0, 7, append(span(0, 1), 1)...), call(0, 7, append(span(128, 1), 1)...), call(0, 7, append(span(256, 1), 0)...), call(0, 2, append(span(0, mediumSize), persistent)...), []byte("w\xff"), call(0, 3), call(0, 8, span(130, 1)...), call(0, 3)))
	f.Fuzz(func(t *testing.T, in []byte) {
		var m medium
		var a ARS
		config := ARSConfig{Duration: time.Second, Records: 2, ClearUnit: 256}
		now, until, rest := time.Duration(0), time.Duration(0), script(in)
		for steps := 0; len(rest) > 0 && steps < 200; steps++ {
			switch rest.byte() {
			case 'p', 'r':
				a, now, until = ARS{}, 0, 0
			case 'w':
				now += time.Duration(rest.byte()) * 40 * time.Millisecond
			case 's':
				if l := &m.lines[int(rest.byte())%mediumLines]; true {
					*l = line{poisoned: true, stuck: true}
				}
			case 'c':
				head := append(rest.next(4), 0, 0, 0, 0)
				function, revision := uint32(head[1]), uint32(head[2])
				argument := rest.next(int(head[3]))
				before := m
				reply, effect := a.Answer(config, &m, now, revision, function, argument)
				what := fmt.Sprintf("step %d, function %d of revision %d, % x", steps, function, revision, argument)
				checkRoot(t, what, config, a, before, m, revision, function, argument, reply, effect)
				switch status := Status(binary.LittleEndian.Uint32(reply)); {
				case revision != 1:
				case function == 3 && (status == arsInProgress) != (now < until):
					t.Fatalf("%s: status %#x, %v before a scrub is over", what, status, until-now)
				case function == 2 && status == OK && decode[startInput](argument).Flags&flagShort == 0:
					until = now + config.Duration
				}
			}
		}
		// Whatever was done, a full scrub and those of its rests find everything.
		for now, a = 0, (ARS{}); ; now += config.Duration {
			from, n := uint64(mediumBase), uint64(mediumSize)
			if a.Stage == ARSDone {
				last := decode[statusReply](a.status(config, &m))
				if last.Status != arsOverflow {
					break
				}
				from, n = last.RestartAddr, last.RestartLength
			}
			a.Answer(config, &m, now, 1, 2, binaries(from, n, uint64(typePersistent)))
			a.Answer(config, &m, now+config.Duration, 1, 3, nil)
		}
		for i, l := range m.lines {
			if l.latent {
				t.Fatalf("line %d is latent after a scrub of everything", i)
			}
		}
	})
}

func checkRoot(t *testing.T, what string, config ARSConfig, a ARS, before, after medium, revision, function uint32, argument, reply []byte, effect Effect) {
	t.Helper()
	status := Status(binary.LittleEndian.Uint32(reply))
	r := decode[injectInput](argument)
	inside := before.Persistent(r.Addr, r.Length)
	if len(reply) > maxReply {
		t.Fatalf("%s: a reply of %d bytes", what, len(reply))
	}
	want := before
	if a.Stage == ARSDone { // by now, perhaps
		want.Discover(a.From, a.Length)
	}
	if !Root.Knows(revision) || function > 9 || function == 6 {
		if status != NotSupported || len(reply) != 4 || after != before && after != want {
			t.Fatalf("%s: % x, want not supported, and nothing done", what, reply)
		}
		return
	}
	if effect != (Effect{Notify: function == 7 && status == OK && r.Options&1 != 0}) {
		t.Fatalf("%s: the effect is %+v", what, effect)
	}
	switch {
	case function == 4 && status == OK, function == 7 && status == OK, function == 8 && status == OK:
	default:
		if after != before && after != want {
			t.Fatalf("%s: it changes the medium", what)
		}
	}
	switch function {
	case 1, 7, 8:
		if refused := status == rootInvalid && len(reply) == 4; refused == inside {
			t.Fatalf("%s: % x, of a range that lies within the memory: %v", what, reply, inside)
		}
	case 3:
		if status == arsInProgress || status == arsNever {
			break
		}
		s := decode[statusReply](reply)
		if int(s.Output) != len(reply) || int(s.Records)*recordSize+statusHeader != len(reply) || int(s.Records) > config.Records {
			t.Fatalf("%s: % x says that it has %d bytes, %d records", what, reply, s.Output, s.Records)
		}
		var list []Record
		for p := reply[statusHeader:]; len(p) > 0; p = p[recordSize:] {
			e := decode[statusRecord](p)
			list = append(list, Record{e.Handle, e.Addr, e.Length})
		}
		if !slices.Equal(list, after.Errors(s.Addr, s.Length)) {
			t.Fatalf("%s: it tells of %+v in %#x bytes at %#x, want %+v", what, list, s.Length, s.Addr, after.Errors(s.Addr, s.Length))
		}
		if s.Addr != a.From || s.Length+s.RestartLength != a.Length || s.Flags&1 != 0 && s.RestartAddr != s.Addr+s.Length {
			t.Fatalf("%s: of %#x bytes at %#x it has %#x at %#x and leaves %#x at %#x", what, a.Length, a.From, s.Length, s.Addr, s.RestartLength, s.RestartAddr)
		}
	case 4:
		if status != OK {
			break
		}
		c := decode[clearReply](reply)
		if c.Cleared > r.Length || c.Cleared%uint64(config.ClearUnit) != 0 {
			t.Fatalf("%s: %#x bytes of %#x are cleared", what, c.Cleared, r.Length)
		}
		if c.Cleared > 0 && len(after.list(r.Addr, c.Cleared, func(l line) bool { return l.poisoned })) > 0 {
			t.Fatalf("%s: %#x bytes are cleared, and there are errors in them", what, c.Cleared)
		}
	case 5:
		if status == OK {
			tr := decode[translateReply](reply)
			handle, dpa, n := before.Locate(r.Addr)
			if len(reply) != 36 || tr.Handle != handle || tr.DPA != dpa || tr.Length != n {
				t.Fatalf("%s: %+v, want handle %d, dpa %#x, %#x bytes", what, tr, handle, dpa, n)
			}
		}
	case 9:
		count := int(binary.LittleEndian.Uint32(reply[4:]))
		if 8+16*count != len(reply) || count != len(after.Injected()) {
			t.Fatalf("%s: %d records in %d bytes, want %d", what, count, len(reply), len(after.Injected()))
		}
	}
}
