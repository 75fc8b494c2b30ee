package persist

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"nvlab/vmm/observe"
)

// fileMagic begins a journal that was saved.
const fileMagic = "nvlab journal 1\n"

// Save gives the journal as bytes, for a test that looks at it again. It must
// have begun when all was durable.
func (j *Journal) Save() ([]byte, error) {
	if n := j.start.Undecided(); n > 0 {
		return nil, fmt.Errorf("a journal that begins with %d lines undecided cannot be saved", n)
	}
	b := []byte(fileMagic)
	num := func(v uint64) { b = binary.AppendUvarint(b, v) }
	data := func(p []byte) {
		num(uint64(len(p)))
		b = append(b, p...)
	}
	media := j.media
	num(uint64(len(media)))
	for _, d := range media {
		data([]byte(d.Name))
		num(uint64(d.Platform))
	}
	num(uint64(len(j.start.maps)))
	for i, m := range j.start.maps {
		if i > 0 && j.start.maps[i-1].base == m.base {
			return nil, fmt.Errorf("a journal of memory at %#x that is in several media cannot be saved", m.base)
		}
		num(m.base)
		num(uint64(m.medium))
		num(m.line)
	}
	for _, o := range j.base {
		num(uint64(o.n))
		o.all(func(l *original) {
			num(l.n)
			b = append(b, l.bytes[:]...)
		})
	}
	num(uint64(len(j.labels)))
	for _, a := range j.labels {
		data([]byte(a.Name))
		data(a.start)
	}
	num(uint64(len(j.writes)))
	for _, w := range j.writes {
		num(uint64(w.area))
		num(w.off)
		data(w.data)
	}
	for _, n := range []int{j.Stores, j.Flushes, j.Fences, j.events.n} {
		num(uint64(n))
	}
	return append(b, slices.Concat(j.events.pieces...)...), nil
}

// errFile says that bytes are no journal.
var errFile = errors.New("no saved journal, or one that is damaged")

// Load reads what Save gave. The journal's media have no memory.
func Load(b []byte) (*Journal, error) {
	if len(b) < len(fileMagic) || string(b[:len(fileMagic)]) != fileMagic {
		return nil, errFile
	}
	r := record{p: b[len(fileMagic):]}
	count := func() int {
		n := r.number()
		if n > uint64(len(r.p)) {
			r.short = true
			return 0
		}
		return int(n)
	}
	data := func() []byte { return slices.Clone(r.bytes(count())) }
	m := NewModel(Config{})
	for range count() {
		d := NewMedium(string(data()), Platform(r.number()), nil)
		if d.Platform >= platforms {
			return nil, errFile
		}
		d.index, d.config = len(m.media), &m.Config
		m.media = append(m.media, d)
	}
	medium := func() *Medium {
		if n := r.number(); n < uint64(len(m.media)) {
			return m.media[n]
		}
		r.short = true
		return nil
	}
	for range count() {
		at := r.number()
		m.bases[at] = []mapped{{medium(), r.number(), 0, math.MaxUint64 / LineSize}}
	}
	j := newJournal(m, nil)
	for _, o := range j.base {
		for range count() {
			n := r.number()
			line := r.bytes(LineSize)
			if r.short || !o.new(n) {
				return nil, errFile
			}
			o.add(n, line)
		}
	}
	for range count() {
		j.labels = append(j.labels, &Labels{Name: string(data()), start: data()})
	}
	for range count() {
		w := labelWrite{int(r.number()), r.number(), data()}
		if r.short || w.area < 0 || w.area >= len(j.labels) || w.off > uint64(len(j.labels[w.area].start)) || uint64(len(w.data)) > uint64(len(j.labels[w.area].start))-w.off {
			return nil, errFile
		}
		j.writes = append(j.writes, w)
	}
	j.Stores, j.Flushes, j.Fences = int(r.number()), int(r.number()), int(r.number())
	j.events = log{n: count(), bytes: len(r.p), pieces: [][]byte{r.p}}
	if r.short || !j.sound() {
		return nil, errFile
	}
	j.start = m.Save()
	return j, nil
}

// sound says that the events of a journal that was read name only what it has.
func (j *Journal) sound() bool {
	var e event
	c := j.events.read()
	for c.next(&e) {
		switch e.what {
		case AtStore:
			d, n := j.model.find(e.Base, e.Offset)
			j.saw(e.Kind, e.VCPU)
			if d == nil || !d.originals.has(n) || e.Kind >= observe.KindEnd {
				return false
			}
		case AtFlush:
			j.clflush = j.clflush || e.flush == observe.CLFLUSH
		case AtHint:
			if int(e.number) < 0 || int(e.number) >= len(j.media) {
				return false
			}
		case AtLabel:
			if int(e.number) < 0 || int(e.number) >= len(j.writes) {
				return false
			}
		}
		if e.VCPU > maxCPUs {
			return false
		}
	}
	return !c.bad && c.left == 0
}

// maxCPUs bounds the CPUs of a journal that was read.
const maxCPUs = 64
