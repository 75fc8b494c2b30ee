package gdb

import (
	"encoding/hex"
	"fmt"
	"html"
	"strings"
)

// next is what follows an answer.
type next int

const (
	stays next = iota
	resumes
	detaches
	kills
)

// Errors that gdb is told of. It knows no more of them than that they are.
const (
	errRequest = "E16" // EINVAL: what was asked for is not to be understood
	errAddress = "E0e" // EFAULT: no memory there
)

// unsupported is the answer to what a target does not know.
const unsupported = ""

// maxRead is how many bytes of memory are answered at a time.
const maxRead = maxPacket / 2

// A query answers packets about a machine that stands still.
type query struct {
	*session
	target Target
	listed string // the list of libraries that gdb is reading
}

// answer is the answer to a packet.
func (q *query) answer(packet string) (reply string, then next) {
	if packet == "" {
		return unsupported, stays
	}
	w := &words{packet[1:]}
	switch packet[0] {
	case '?':
		return q.stopReply(), stays
	case 'g':
		r := q.target.Registers(q.thread)
		return getAll(&r), stays
	case 'G':
		r := q.target.Registers(q.thread)
		if putAll(&r, w.rest) != nil || q.target.SetRegisters(q.thread, &r) != nil {
			return errRequest, stays
		}
		return "OK", stays
	case 'p', 'P':
		return q.one(w, packet[0] == 'P'), stays
	case 'm':
		return q.read(w), stays
	case 'M', 'X':
		return q.writeMemory(w, packet[0] == 'X'), stays
	case 'Z', 'z':
		return q.breakpoint(w, packet[0] == 'Z'), stays
	case 'H':
		return q.choose(w), stays
	case 'T':
		if _, ok := q.thisThread(w); !ok {
			return errRequest, stays
		}
		return "OK", stays
	case 'c', 'C':
		return "", resumes
	case 's', 'S':
		q.step = q.thread
		return "", resumes
	case 'D':
		return "OK", detaches
	case 'k':
		return "OK", kills
	case 'v':
		return q.verbose(packet)
	case 'q', 'Q':
		return q.general(packet), stays
	}
	return unsupported, stays
}

// stopReply says why the machine stands still.
func (q *session) stopReply() string {
	s := fmt.Sprintf("T%02xthread:%x;", q.stopped.signal, q.stopped.cpu+1)
	if q.stopped.broke && q.swbreak {
		s += "swbreak:;"
	}
	if q.stopped.loaded {
		s += "library:;"
	}
	return s
}

// one reads or writes one register.
func (q *query) one(w *words, set bool) string {
	n, ok := w.hex()
	if !ok || n >= uint64(len(registers)) {
		return errRequest
	}
	reg := &registers[n]
	r := q.target.Registers(q.thread)
	if !set {
		return hex.EncodeToString(reg.get(&r))
	}
	w.skip("=")
	b, err := hex.DecodeString(w.rest)
	if err != nil || len(b) != reg.bits/8 || reg.put(&r, b) != nil || q.target.SetRegisters(q.thread, &r) != nil {
		return errRequest
	}
	return "OK"
}

func (q *query) read(w *words) string {
	addr, n, ok := w.span()
	if !ok {
		return errRequest
	}
	p := make([]byte, min(n, maxRead))
	got := q.target.ReadMemory(q.thread, addr, p)
	if got == 0 && n > 0 {
		return errAddress
	}
	return hex.EncodeToString(p[:got])
}

func (q *query) writeMemory(w *words, binary bool) string {
	addr, n, ok := w.span()
	if !ok || !w.skip(":") {
		return errRequest
	}
	p := []byte(w.rest)
	if !binary {
		var err error
		if p, err = hex.DecodeString(w.rest); err != nil {
			return errRequest
		}
	}
	if uint64(len(p)) != n {
		return errRequest
	}
	if q.target.WriteMemory(q.thread, addr, p) != nil {
		return errAddress
	}
	return "OK"
}

// breakpoint inserts or removes one. All are the engine's, so a software and a
// hardware breakpoint (types 0 and 1) are the same; there are no watchpoints.
func (q *query) breakpoint(w *words, insert bool) string {
	kind, ok := w.hex()
	if !ok || !w.skip(",") {
		return errRequest
	}
	addr, _, ok := w.span()
	switch {
	case !ok:
		return errRequest
	case kind > 1:
		return unsupported
	case insert:
		q.server.insert(addr)
	default:
		q.server.remove(addr)
	}
	return "OK"
}

// thisThread reads the number of a thread, and returns its processor. 0 is any
// and -1 all of them: the one that stopped.
func (q *query) thisThread(w *words) (cpu int, ok bool) {
	if w.skip("-1") {
		return q.stopped.cpu, true
	}
	n, ok := w.hex()
	switch {
	case !ok || n > uint64(q.target.CPUs()):
		return 0, false
	case n == 0:
		return q.stopped.cpu, true
	}
	return int(n) - 1, true
}

// choose takes the thread that registers and memory are of. With Hc it would be
// the one to step, which is the same.
func (q *query) choose(w *words) string {
	if !w.skip("g") && !w.skip("c") {
		return errRequest
	}
	cpu, ok := q.thisThread(w)
	if !ok {
		return errRequest
	}
	q.thread = cpu
	return "OK"
}

// verbose answers packets that begin with v.
func (q *query) verbose(packet string) (string, next) {
	if rest, ok := strings.CutPrefix(packet, "vFile:"); ok {
		return q.files.answer(rest), stays
	}
	if _, ok := strings.CutPrefix(packet, "vKill"); ok {
		return "OK", kills
	}
	if packet == "vCont?" {
		return "vCont;c;C;s;S", stays
	}
	actions, ok := strings.CutPrefix(packet, "vCont;")
	if !ok {
		return unsupported, stays
	}
	for action := range strings.SplitSeq(actions, ";") {
		what, thread, given := strings.Cut(action, ":")
		if what == "" || !strings.Contains("cCsS", what[:1]) {
			return errRequest, stays
		}
		if what[0]|0x20 != 's' || q.step >= 0 {
			continue
		}
		q.step = q.target.Turn()
		if given && thread != "-1" {
			if q.step, ok = q.thisThread(&words{thread}); !ok {
				q.step = -1
				return errRequest, stays
			}
		}
	}
	return "", resumes
}

// general answers packets that begin with q or Q.
func (q *query) general(packet string) string {
	name, args, _ := strings.Cut(packet, ":")
	switch name {
	case "qSupported":
		q.swbreak = strings.Contains(args, "swbreak+")
		return fmt.Sprintf("PacketSize=%x;qXfer:features:read+;qXfer:exec-file:read+;qXfer:libraries-svr4:read+;QStartNoAckMode+;vContSupported+;swbreak+;hwbreak-;multiprocess-", maxPacket)
	case "QStartNoAckMode":
		q.noAcks.Store(true)
		return "OK"
	case "qXfer":
		return q.transfer(args)
	case "qC":
		return fmt.Sprintf("QC%x", q.stopped.cpu+1)
	case "qAttached":
		return "1" // to what was there before: gdb detaches when it ends
	case "qSymbol":
		return "OK" // none is needed
	case "qfThreadInfo":
		s := "m"
		for cpu := range q.target.CPUs() {
			if cpu > 0 {
				s += ","
			}
			s += fmt.Sprintf("%x", cpu+1)
		}
		return s
	case "qsThreadInfo":
		return "l"
	}
	if thread, ok := strings.CutPrefix(packet, "qThreadExtraInfo,"); ok {
		cpu, ok := q.thisThread(&words{thread})
		if !ok {
			return errRequest
		}
		return hex.EncodeToString([]byte(q.target.CPU(cpu)))
	}
	return unsupported
}

// program is the name of what gdb takes for the program: the first library, for
// good. gdb asks unless it was given one.
func (q *query) program() string {
	if q.files.list = q.target.Libraries(); len(q.files.list) > 0 {
		q.main = q.files.list[0].Name
	}
	return q.main
}

// libraries is the list of those that are not the program (GDB manual, "Library
// List Format for SVR4 Targets"). Their symbols need no displacement.
func (q *query) libraries() string {
	q.known, q.files.list = nil, q.target.Libraries()
	var b strings.Builder
	b.WriteString(`<library-list-svr4 version="1.0">`)
	for i, l := range q.files.list {
		q.known = append(q.known, l.Name)
		if l.Name != q.main {
			fmt.Fprintf(&b, `<library name="%s" lm="%#x" l_addr="0x0" l_ld="0x0" lmid="0x0"/>`, html.EscapeString(l.Name), i+1)
		}
	}
	b.WriteString(`</library-list-svr4>`)
	return b.String()
}

// transfer answers qXfer:OBJECT:read:ANNEX:OFFSET,LENGTH.
func (q *query) transfer(args string) string {
	object, rest, _ := strings.Cut(args, ":")
	rest, ok := strings.CutPrefix(rest, "read:")
	annex, span, found := strings.Cut(rest, ":")
	if !ok || !found {
		return unsupported
	}
	offset, n, ok := (&words{span}).span()
	if !ok {
		return errRequest
	}
	switch {
	case object == "features" && annex == "target.xml":
		return part(description(), offset, n)
	case object == "exec-file":
		return part(q.program(), offset, n)
	case object == "libraries-svr4":
		if offset == 0 {
			q.listed = q.libraries()
		}
		return part(q.listed, offset, n)
	}
	return unsupported
}

// part is what gdb asked for of a text: m, and there is more, or l.
func part(text string, offset, n uint64) string {
	if offset > uint64(len(text)) {
		return errRequest
	}
	text = text[offset:]
	if n = min(n, maxRead); n < uint64(len(text)) {
		return "m" + text[:n]
	}
	return "l" + text
}
