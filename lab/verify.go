package lab

import (
	"bytes"
	"encoding/json"
	"fmt"

	"nvlab/guest/proto"
	"nvlab/internal/cow"
	"nvlab/internal/pages"
	"nvlab/internal/states"
)

// Compared is how many boots and calls were computed anew and compared with the states.
func (l *Lab) Compared() int { return int(l.compared.Load()) }

// An expected is what a boot or a call is to come to.
type expected struct {
	file   string
	state  *bootState
	answer *proto.Result // of a call
	images []*cow.Image
}

// expected is the state that recall would take, of any variant if none is named; nil if there
// is none.
func (v *VM) expected(name states.Name) *expected {
	if !v.mapped() {
		return nil
	}
	for _, f := range v.x.lab.states.Find(name) {
		defer f.Close()
		if name.Variant != (states.Sum{}) && f.Name() != name.File() {
			continue
		}
		s, err := decodeBoot(f.Meta())
		if err != nil || !v.holds(s.Conditions) {
			continue
		}
		if images, err := f.Images(nil); err == nil {
			return &expected{file: f.Name(), state: s, images: images}
		}
	}
	return nil
}

func (e *expected) close() {
	if e != nil {
		cow.CloseAll(e.images)
	}
}

// compare says in what a boot that was computed differs from what it was to come
// to: a bug, in what computes or in what is kept.
func (e *expected) compare(s *bootState, images []*cow.Image) error {
	for _, part := range []struct {
		what        string
		have, wants any
	}{
		{"the pages of NVDIMMs that it looks at", s.Conditions, e.state.Conditions},
		{"what it writes to NVDIMMs", s.Written, e.state.Written},
		{"its console", s.Console, e.state.Console},
		{"the times of its console's lines", s.Lines, e.state.Lines},
		{"what happened to it", s.Happened, e.state.Happened},
		{"its processors or devices", s.Machine, e.state.Machine},
		{"its NVDIMMs", s.Root, e.state.Root},
		{"what of its NVDIMMs is durable", s.Power.present(), e.state.Power.present()},
		{"what its agent said", s.Client, e.state.Client},
		{"its kernel's log", s.Log, e.state.Log},
		{"what follows where it reads the NFIT", s.Prefix, e.state.Prefix},
	} {
		if err := e.same(part.what, part.have, part.wants); err != nil {
			return err
		}
	}
	if alike, err := s.Power.pastAlike(&e.state.Power); err != nil {
		return err
	} else if !alike {
		return e.differs("what stored to its NVDIMMs")
	}
	if len(images) != len(e.images) {
		return e.differs(fmt.Sprintf("the number of its memories: %d, and %d", len(images), len(e.images)))
	}
	for i, image := range images {
		var differs error
		err := image.Differing(e.images[i], func(p cow.Page) error {
			differs = e.differs(fmt.Sprintf("memory %d, at %#x", i, p.Number*pages.Size))
			return differs
		})
		switch {
		case differs != nil:
			return differs
		case err != nil:
			return &Error{Class: ClassHost, Err: err}
		}
	}
	return nil
}

// compareAnswer says that a call that was computed brought something else than it
// was to.
func (e *expected) compareAnswer(answer *proto.Result) error {
	return e.same("what the call brings", answer, e.answer)
}

func (e *expected) same(what string, have, want any) error {
	has, err := json.Marshal(have)
	if err != nil {
		return err
	}
	wants, err := json.Marshal(want)
	if err != nil {
		return err
	}
	if !bytes.Equal(has, wants) {
		return e.differs(what)
	}
	return nil
}

func (e *expected) differs(what string) error {
	return &Error{Class: ClassBug, Err: fmt.Errorf("what is computed differs from the state %s in %s", e.file, what)}
}
