package lab

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"nvlab/guest/klog"
	"nvlab/guest/proto"
	"nvlab/nvdimm"
	"nvlab/nvdimm/persist"
	"nvlab/nvdimm/power"
	"nvlab/vmm"
)

// stateVersion is raised whenever the encoding of a bootState gets another
// meaning. Other programs have other keys; this is for those without a key.
const stateVersion = 1

// A bootState is a VM whose boot is over, but for its memory: plain data.
type bootState struct {
	Version    int
	Conditions []condition
	Written    []writtenPage

	Machine  *vmm.Saved
	Root     *nvdimm.RootState
	Power    savedPower
	Client   proto.ClientState
	Console  []byte          // since power-on
	Lines    []time.Duration // when its lines ended
	Happened []Happening     `json:",omitempty"` // since power-on
	Log      savedLog

	Prefix *prefixStage `json:",omitempty"` // nil of a boot that is over
}

// A savedLog is a kernelLog.
type savedLog struct {
	At    *klog.Position // nil if none was found
	None  bool
	Lost  bool
	Tail  []string
	Fault *savedFault
}

// A savedFault is a kernelFault.
type savedFault struct {
	Line            string
	Complete, Fatal bool
}

func (k *kernelLog) saved() savedLog {
	s := savedLog{None: k.none, Lost: k.lost, Tail: k.tail}
	if k.log != nil {
		at := k.log.Position()
		s.At = &at
	}
	if f := k.watch.fault; f != nil {
		s.Fault = &savedFault{f.line, f.complete, f.fatal}
	}
	return s
}

// in is the log in a guest's memory.
func (s *savedLog) in(mem klog.Memory) (kernelLog, error) {
	k := kernelLog{none: s.None, lost: s.Lost, tail: s.Tail}
	if s.At != nil {
		if k.log = klog.AtPosition(mem, translateIn(mem), *s.At); k.log == nil {
			return k, fmt.Errorf("there is no kernel's log at %#x", s.At.Note)
		}
	}
	if f := s.Fault; f != nil {
		k.watch.fault = &kernelFault{f.Line, f.Complete, f.Fatal}
	}
	return k, nil
}

// savePower encodes the state of a tracker that sees single stores.
func savePower(s *power.State) (p savedPower, err error) {
	if len(s.Epochs) > 0 {
		return p, errors.New("an epoch of flush hints")
	}
	p.Rest = *s
	p.Rest.Model, p.Rest.Past, p.Rest.Epochs = nil, nil, nil
	if s.Model == nil {
		return p, nil
	}
	if p.Model, err = s.Model.MarshalBinary(); err != nil {
		return p, err
	}
	p.Past, err = s.Past.MarshalBinary()
	return p, err
}

func (p *savedPower) state() (*power.State, error) {
	s := p.Rest
	if p.Model == nil {
		return &s, nil
	}
	s.Model, s.Past = &persist.ModelState{}, &persist.Past{}
	if err := s.Model.UnmarshalBinary(p.Model); err != nil {
		return nil, err
	}
	return &s, s.Past.UnmarshalBinary(p.Past)
}

// present is p without what led there.
func (p savedPower) present() savedPower {
	p.Past = nil
	return p
}

// pastAlike says that the pasts tell the same, however the engine joined fences.
func (p *savedPower) pastAlike(o *savedPower) (bool, error) {
	if p.Past == nil || o.Past == nil {
		return p.Past == nil && o.Past == nil, nil
	}
	var a, b persist.Past
	if err := a.UnmarshalBinary(p.Past); err != nil {
		return false, err
	}
	if err := b.UnmarshalBinary(o.Past); err != nil {
		return false, err
	}
	return a.Alike(&b), nil
}

func (s *bootState) encode() ([]byte, error) { return json.Marshal(s) }

// decodeBoot reads what encode gave.
func decodeBoot(b []byte) (*bootState, error) {
	s := &bootState{}
	if err := decodePlain(b, s); err != nil {
		return nil, err
	}
	return s, s.sound()
}

// decodePlain reads plain data, and nothing besides.
func decodePlain(b []byte, to any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(to); err != nil {
		return fmt.Errorf("no state of a VM: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("no state of a VM: something follows it")
	}
	return nil
}

// sound says why this is no state of a VM that runs.
func (s *bootState) sound() error {
	switch {
	case s == nil:
		return errors.New("no state of a VM")
	case s.Version != stateVersion:
		return fmt.Errorf("a state of version %d: want %d", s.Version, stateVersion)
	case s.Machine == nil || s.Root == nil || s.Power.Model == nil || s.Power.Past == nil:
		return errors.New("a state of a VM that is off")
	}
	return nil
}
