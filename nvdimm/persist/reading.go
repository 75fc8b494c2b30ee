package persist

import (
	"fmt"
	"strconv"
	"strings"

	"nvlab/vmm/observe"
)

// A Reading is under what rules a journal is looked at, if not those that it
// was recorded under. See Config for those that are not described here.
type Reading struct {
	// Platform is that of every medium but those that promise nothing; nil
	// for each its own. What it would have left undecided before the journal
	// began is known only of a platform that promises more: with any other
	// what was durable then stays so, which gives states up and adds none.
	Platform     *Platform
	Explicit     bool
	Atomic16     bool
	IntelCLFLUSH bool
}

// platformWords name platforms in the ids of states.
var platformWords = []string{"adr", "eadr", "hints", "none", "requests"}

// PlatformNamed is a platform by its short name: "adr", "eadr", "hints" or
// "none".
func PlatformNamed(name string) (Platform, bool) {
	for i, w := range platformWords {
		if w == name {
			return Platform(i), true
		}
	}
	return 0, false
}

func (x Reading) words() (list []string) {
	if x.Platform != nil {
		list = append(list, platformWords[*x.Platform])
	}
	for _, w := range x.switches() {
		if *w.on {
			list = append(list, w.word)
		}
	}
	return list
}

// switches are what of a reading is on or off, by the words of ids.
func (x *Reading) switches() []readingSwitch {
	return []readingSwitch{{"explicit", &x.Explicit}, {"atomic16", &x.Atomic16}, {"intel", &x.IntelCLFLUSH}}
}

type readingSwitch struct {
	word string
	on   *bool
}

// replayAs goes through the journal under a reading.
func (j *Journal) replayAs(x Reading) *replay {
	r := j.replay()
	c := &r.model.Config
	c.Explicit, c.Atomic16, c.IntelCLFLUSH = c.Explicit || x.Explicit, c.Atomic16 || x.Atomic16, c.IntelCLFLUSH || x.IntelCLFLUSH
	for _, d := range r.model.media {
		if x.Platform != nil && !d.Platform.ofDevice() {
			d.become(*x.Platform)
		}
	}
	return r
}

// become makes the medium one of another platform, with what that would have
// left undecided, as far as it is known.
func (d *Medium) become(p Platform) {
	if d.Platform == p {
		return
	}
	d.Platform = p
	for _, l := range d.sorted() {
		switch p {
		case EADR: // R12
			l.commit(func(o *op) bool { return o.kind&observe.NonTemporal == 0 || o.accepted })
		case ADR:
			l.commit(func(o *op) bool { return o.accepted })
		}
	}
	clear(d.accepted)
}

// sinceStart says that under the reading more would have been undecided when
// the journal began than is known.
func (j *Journal) sinceStart(x Reading) bool {
	if j.start.nextID == j.start.clean {
		return false // nothing was stored before
	}
	if x.Explicit && !j.start.config.Explicit {
		return true
	}
	for i := range j.start.media {
		if p := j.start.media[i].platform; x.Platform != nil && !p.ofDevice() && p != *x.Platform && promises[*x.Platform] < promises[p] {
			return true
		}
	}
	return false
}

// ofDevice says that the device promises so much on any platform.
func (p Platform) ofDevice() bool { return p == Nothing || p == Requests }

// promises orders the platforms: one that promises more makes a store durable
// no later.
var promises = [...]int{Nothing: 0, Requests: 0, Hints: 1, ADR: 2, EADR: 3}

// A name is what the id of a state says.
type name struct {
	event  int
	method rune // see point.choose
	k      int
	seed   uint64
	edits  []edit // of methods 'n' and 'e'
	Reading
}

// id names a state: the event, how it was chosen, and a hash of the image that
// tells whether another run is the same.
func (n name) id(h hash) string {
	how := strconv.Itoa(n.k)
	if n.method == 'n' || n.method == 'e' {
		how = editsText(n.edits)
	}
	parts := []string{strconv.Itoa(n.event), string(n.method) + how}
	if n.seed != 0 {
		parts = append(parts, "s"+strconv.FormatUint(n.seed, 16))
	}
	return fmt.Sprintf("%s-%08x", strings.Join(append(parts, n.words()...), "."), uint32(h[0]))
}

// turn switches what a word names on, if it names something.
func (x *Reading) turn(word string) bool {
	for _, w := range x.switches() {
		if w.word == word {
			*w.on = true
			return true
		}
	}
	return false
}

// CheckID says why a text is no id of a state, of whatever command.
func CheckID(id string) error {
	if _, ok := parseID(id); !ok {
		return fmt.Errorf("%q is no name of a crash state: want one as a report shows it, such as 12.e3+5-0badcafe", id)
	}
	return nil
}

// parseID reads the part of an id before its hash.
func parseID(id string) (n name, ok bool) {
	text, _, ok := strings.Cut(id, "-")
	parts := strings.Split(text, ".")
	if !ok || len(parts) < 2 || parts[1] == "" {
		return n, false
	}
	var err error
	if n.event, err = strconv.Atoi(parts[0]); err != nil {
		return n, false
	}
	n.method = rune(parts[1][0])
	switch how := parts[1][1:]; {
	case n.method == 'n' || n.method == 'e':
		if n.edits, ok = parseEdits(how); !ok {
			return n, false
		}
	case strings.ContainsRune("xtlpr", n.method):
		if n.k, err = strconv.Atoi(how); err != nil {
			return n, false
		}
	default:
		return n, false
	}
	for _, p := range parts[2:] {
		platform, isPlatform := PlatformNamed(p)
		switch {
		case isPlatform:
			n.Platform = &platform
		case n.turn(p):
		case strings.HasPrefix(p, "s"):
			if n.seed, err = strconv.ParseUint(p[1:], 16, 64); err != nil {
				return n, false
			}
		default:
			return n, false
		}
	}
	return n, n.event >= 0 && n.k >= 0
}
