package persist

import (
	"cmp"
	"maps"
	"slices"

	"nvlab/vmm/observe"
)

// A ModelState is what a Model knows at a moment, apart from the bytes of its
// media: plain data that nobody changes, from which any number of models go
// on. Models that no later event and no power failure can tell apart have
// equal states.
type ModelState struct {
	config  Config
	media   []mediumState
	maps    []mapState // by base, those of one base in their order
	cpus    []cpuState
	nextID  uint64
	clean   uint64
	group   uint64
	latest  observe.At
	waiting bool
	process uint32
}

type mediumState struct {
	name      string
	platform  Platform
	truncated int
	spilled   int
	drained   int
	raced     int
	added     int
	most      int
	drains    bool
	lines     []lineState // by number
	ops       []op        // of the lines, in their order
}

type lineState struct {
	n        uint64
	durable  [LineSize]byte
	latest   uint64
	owner    uint8
	half     bool
	accepted bool // it is in Medium.accepted
	ops      int  // how many of the medium's are the line's
}

type mapState struct {
	base     uint64
	medium   int
	line     uint64
	from, to uint64
}

type cpuState struct {
	vcpu    uint8
	wb, clf []flushState
	nt      []runState
	sealed  int // of nt
	strong  bool
	seen    uint64
	parts   []partState
	group   uint64
	torn    bool
	hinted  []int // media
}

// linePlace is an undecided line: its medium, and its place in the state's
// list of lines.
type linePlace struct{ medium, line int }

// decided is the place of a line of which nothing is undecided any more.
const decided = -1

type flushState struct {
	at    linePlace
	cover cover
}

type runState struct {
	at          linePlace
	first, last uint64
}

type partState struct {
	at linePlace
	id uint64
}

// Save returns what the model knows. Nothing of it is the model's.
func (m *Model) Save() *ModelState {
	m.follow()
	s := &ModelState{
		config: m.Config, nextID: m.nextID, clean: m.clean, group: m.group,
		latest: m.latest, waiting: m.waiting, process: m.process,
	}
	places := map[*line]linePlace{}
	media := map[*Medium]int{}
	for i, d := range m.media {
		media[d] = i
		s.media = append(s.media, d.save(i, places))
	}
	for _, base := range slices.Sorted(maps.Keys(m.bases)) {
		for _, p := range m.bases[base] {
			s.maps = append(s.maps, mapState{base, media[p.medium], p.line, p.from, p.to})
		}
	}
	for i := range m.cpus {
		s.cpus = append(s.cpus, m.cpus[i].save(media, places))
	}
	return s
}

func (d *Medium) save(medium int, places map[*line]linePlace) mediumState {
	s := mediumState{
		name: d.Name, platform: d.Platform, truncated: d.Truncated, spilled: d.Spilled, drained: d.Drained, raced: d.Raced,
		added: d.added, most: d.most, drains: d.drains,
	}
	lines := d.sorted()
	ops := 0
	for _, l := range lines {
		ops += len(l.ops)
	}
	s.lines, s.ops = slices.Grow(s.lines, len(lines)), slices.Grow(s.ops, ops)
	for i, l := range lines {
		places[l] = linePlace{medium, i}
		s.lines = append(s.lines, lineState{l.n, l.durable, l.latest, l.owner, l.half, d.accepted[l], len(l.ops)})
		s.ops = append(s.ops, l.ops...)
	}
	return s
}

// save leaves out what concerns no op that is undecided: a line that was
// decided may have become another since.
func (c *cpu) save(media map[*Medium]int, places map[*line]linePlace) cpuState {
	s := cpuState{vcpu: c.vcpu, strong: c.strong, seen: c.seen, group: c.group, torn: c.torn}
	s.wb, s.clf = c.saveFlushes(c.wb, places), c.saveFlushes(c.clf, places)
	for i := range c.nt {
		r, found := &c.nt[i], runState{}
		for k := range r.line.ops {
			if o := &r.line.ops[k]; c.combined(r, o) {
				found.at, found.last = places[r.line], o.id
				if found.first == 0 { // ids begin at 1
					found.first = o.id
				}
			}
		}
		switch n := len(s.nt); {
		case found.first == 0:
			continue
		case n > 0 && s.nt[n-1].at == found.at && (i < c.sealed || n > s.sealed):
			s.nt[n-1].last = found.last
		default:
			s.nt = append(s.nt, found)
		}
		if i < c.sealed {
			s.sealed = len(s.nt)
		}
	}
	for _, r := range c.parts {
		at := linePlace{media[r.line.medium], decided} // it still is a part
		if slices.ContainsFunc(r.line.ops, func(o op) bool { return o.id == r.id }) {
			at = places[r.line]
		}
		s.parts = append(s.parts, partState{at, r.id})
	}
	for _, d := range c.hinted {
		s.hinted = append(s.hinted, media[d])
	}
	return s
}

func (c *cpu) saveFlushes(set map[*line]cover, places map[*line]linePlace) (list []flushState) {
	for l, f := range set {
		if slices.ContainsFunc(l.ops, func(o op) bool { return f.covers(&o) }) {
			list = append(list, flushState{places[l], f})
		}
	}
	slices.SortFunc(list, func(x, y flushState) int {
		return cmp.Or(cmp.Compare(x.at.medium, y.at.medium), cmp.Compare(x.at.line, y.at.line))
	})
	return list
}

// Model returns a model that goes on from the state. Its media, in the order
// of Media of the model that was saved, have the memories given; those beyond
// have none. It records no journal.
func (s *ModelState) Model(memories ...Memory) *Model {
	m := NewModel(s.config)
	m.nextID, m.clean, m.group, m.latest, m.waiting, m.process = s.nextID, s.clean, s.group, s.latest, s.waiting, s.process
	lines := make([][]line, len(s.media))
	for i := range s.media {
		var mem Memory
		if i < len(memories) {
			mem = memories[i]
		}
		var d *Medium
		d, lines[i] = s.media[i].medium(&m.Config, mem)
		d.index = i
		m.media = append(m.media, d)
	}
	for _, p := range s.maps {
		m.bases[p.base] = append(m.bases[p.base], mapped{m.media[p.medium], p.line, p.from, p.to})
	}
	at := func(p linePlace) *line {
		if p.line == decided {
			return &line{medium: m.media[p.medium]}
		}
		return &lines[p.medium][p.line]
	}
	for i := range s.cpus {
		o := &s.cpus[i]
		c := cpu{vcpu: o.vcpu, wb: map[*line]cover{}, clf: map[*line]cover{}, sealed: o.sealed, strong: o.strong, seen: o.seen, group: o.group, torn: o.torn}
		for _, f := range o.wb {
			c.wb[at(f.at)] = f.cover
		}
		for _, f := range o.clf {
			c.clf[at(f.at)] = f.cover
		}
		for _, r := range o.nt {
			c.nt = append(c.nt, run{at(r.at), r.first, r.last})
		}
		for _, p := range o.parts {
			c.parts = append(c.parts, ref{at(p.at), p.id})
		}
		for _, d := range o.hinted {
			c.hinted = append(c.hinted, m.media[d])
		}
		m.cpus = append(m.cpus, c)
	}
	return m
}

func (s *mediumState) medium(config *Config, mem Memory) (*Medium, []line) {
	d := NewMedium(s.name, s.platform, mem)
	d.Truncated, d.Spilled, d.Drained, d.Raced = s.truncated, s.spilled, s.drained, s.raced
	d.added, d.most, d.drains, d.config = s.added, s.most, s.drains, config
	lines, ops := make([]line, len(s.lines)), slices.Clone(s.ops)
	for i := range s.lines {
		o, l := &s.lines[i], &lines[i]
		*l = line{medium: d, n: o.n, durable: o.durable, latest: o.latest, owner: o.owner, half: o.half, ops: ops[:o.ops:o.ops]}
		ops = ops[o.ops:]
		d.lines.put(l.n, l)
		if o.accepted {
			d.accepted[l] = true
		}
	}
	return d, lines
}

// On is the state of a model that has the processors of s and the media of another state,
// if nothing of either tells of the other: no medium of s was stored to or flushed, and
// no processor of the other was told of.
func (s *ModelState) On(media *ModelState) (*ModelState, bool) {
	for i := range s.media {
		if m := &s.media[i]; len(m.lines) > 0 || m.added != 0 || m.truncated != 0 || m.spilled != 0 || m.drained != 0 || m.raced != 0 {
			return nil, false
		}
	}
	for i := range s.cpus {
		if c := &s.cpus[i]; len(c.wb)+len(c.clf)+len(c.nt)+len(c.parts)+len(c.hinted) > 0 || c.strong {
			return nil, false
		}
	}
	if s.config != media.config || s.nextID != media.nextID || s.clean != media.clean || len(media.cpus) > 0 {
		return nil, false
	}
	n := *s
	n.media, n.maps = media.media, media.maps
	return &n, true
}

// Undecided is how many lines hold more than what is durable, of all media.
func (s *ModelState) Undecided() (n int) {
	for i := range s.media {
		n += len(s.media[i].lines)
	}
	return n
}
