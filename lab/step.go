package lab

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"reflect"
	"time"

	"nvlab/guest/proto"
	"nvlab/internal/cow"
	"nvlab/internal/states"
	"nvlab/nvdimm/persist"
	"nvlab/vmm"
)

// A reached is how a VM came to what it is: by a boot, and by the calls since.
type reached struct {
	family states.Sum
	by     states.Sum // the boot's name, and the calls in their order
	print  states.Sum // of what the VM was at the end of the last
	base   states.Base
	kept   int // states of calls of this boot, each a difference to the one before
}

// rest notes the state in the store that is nearest to what the VM is. It takes
// the images.
func (r *reached) rest(file string, images []*cow.Image) {
	cow.CloseAll(r.base.Images)
	r.base = states.Base{Name: file, Images: images}
	r.kept++
}

// arrive notes that a boot is over, which images were at its end, and which file
// has them. It takes the images.
func (v *VM) arrive(n states.Name, images []*cow.Image) {
	v.depart()
	by, err := json.Marshal([]string{n.File()})
	print, ok := v.fingerprint()
	if err != nil || !ok {
		cow.CloseAll(images)
		return
	}
	v.reached = &reached{family: n.Family, by: sha256.Sum256(by), print: print, base: states.Base{Name: n.File(), Images: images}}
}

// depart notes that nobody knows any more how the VM came to what it is.
func (v *VM) depart() {
	if r := v.reached; r != nil {
		v.reached = nil
		cow.CloseAll(r.base.Images)
	}
}

// fingerprint names what a VM is that runs, but for bytes of memory. As long as
// it stays, the guest has not run, and nobody has told it anything.
func (v *VM) fingerprint() (sum states.Sum, ok bool) {
	if v.m == nil || v.state != Running || v.lost != nil || v.unreported != nil || v.fault() != nil || v.power.Failed() {
		return sum, false
	}
	power, err := v.power.Save()
	if err != nil {
		return sum, false
	}
	power.Past = &persist.Past{} // its sum is enough
	s := &bootState{}
	if v.describeWith(power, s) != nil {
		return sum, false
	}
	if s.Machine, err = v.m.Save(); err != nil {
		return sum, false
	}
	text, err := json.Marshal([]any{s, v.power.PastSum(), v.opts.AllowOops, v.reported, v.console.dropped})
	return sha256.Sum256(text), err == nil
}

// A callState is a VM after a call, and what the call brought.
type callState struct {
	State  *bootState
	Answer proto.Result
}

// A step is one call of a VM of which it is known how it came to what it is.
type step struct {
	v        *VM
	request  proto.Request
	name     stateName
	by       states.Sum // when the call is over
	watch    *pageWatch
	root     []byte // management of its DIMMs before
	printed  int
	happened int
	retired  uint64

	expected *expected // what the call is to come to; nil if that is not known
}

// step returns the step that a request is, nil if it is to be computed only.
func (v *VM) step(request proto.Request, timeout time.Duration) *step {
	r := v.reached
	if r == nil || v.reads != nil || v.touched != nil {
		return nil
	}
	switch request.(type) {
	case *proto.Command, proto.ReadPath, proto.WritePath:
	default:
		return nil
	}
	if print, ok := v.fingerprint(); !ok || print != r.print {
		return nil
	}
	for _, d := range v.dimms {
		if d.backend.contended {
			return nil
		}
	}
	text, err := json.Marshal([]any{r.by, reflect.TypeOf(request).String(), request, timeout})
	if err != nil {
		return nil
	}
	by := states.Sum(sha256.Sum256(text))
	return &step{v: v, request: request, name: stateName{states.Name{Family: r.family, Key: by}}, by: by}
}

// recall makes the VM what it was after such a call, and returns the answer; nil
// if that is not known.
func (s *step) recall() (*proto.Result, error) {
	for _, f := range s.v.x.lab.states.Find(s.name.Name) {
		if s.v.x.lab.opts.Verify {
			s.expect(f)
			f.Close()
			continue
		}
		answer, err := s.recallOne(f)
		f.Close()
		if answer != nil || err != nil {
			return answer, err
		}
	}
	return nil, nil
}

// expect notes what the call is to come to, if that is this state.
func (s *step) expect(f *states.Found) {
	var c callState
	if s.expected != nil || decodePlain(f.Meta(), &c) != nil || c.State.sound() != nil || !s.v.holds(c.State.Conditions) {
		return
	}
	if images, err := f.Images(&s.v.reached.base); err == nil {
		s.expected = &expected{f.Name(), c.State, &c.Answer, images}
	}
}

func (s *step) recallOne(f *states.Found) (*proto.Result, error) {
	v := s.v
	var c callState
	if decodePlain(f.Meta(), &c) != nil || c.State.sound() != nil || !v.holds(c.State.Conditions) {
		return nil, nil
	}
	power, err := c.State.Power.state()
	if err != nil {
		return nil, nil
	}
	images, err := f.Images(&v.reached.base)
	if err != nil {
		return nil, nil
	}
	snapshot := &vmm.Snapshot{Saved: c.State.Machine, RAM: images}
	if v.m.CanRestore(snapshot) != nil {
		cow.CloseAll(images)
		return nil, nil
	}
	// From here on the VM is on its way.
	err = v.root.Load(c.State.Root, v.ownBackends())
	if err == nil {
		err = v.power.Load(power, v.m.Observe)
	}
	if err == nil {
		err = v.writePages(c.State.Written)
	}
	if err == nil {
		err = v.m.Restore(snapshot)
	}
	var log kernelLog
	if err == nil {
		log, err = c.State.Log.in(v.m.Memory())
	}
	if err != nil {
		cow.CloseAll(images)
		v.crash()
		return nil, &Error{Class: ClassHost, Err: fmt.Errorf("taking up the state %s: %w", f.Name(), err)}
	}
	client := c.State.Client.Client()
	client.Files, client.Limit = v.client.Files, v.client.Limit
	v.replay(c.State)
	v.klog, v.client = log, client
	v.reached.rest(f.Name(), images)
	s.advance(f.At())
	v.answered++
	return &c.Answer, nil
}

// writePages has the guest see what a boot or a call wrote.
func (v *VM) writePages(list []writtenPage) error {
	for _, p := range list {
		d := v.inSlot(p.Slot)
		if d == nil {
			return fmt.Errorf("a page of an NVDIMM in slot %d", p.Slot)
		}
		if err := v.poke(d, p.Offset, p.Bytes); err != nil {
			return err
		}
	}
	return nil
}

// advance notes that the step is over.
func (s *step) advance(n states.Name) {
	v := s.v
	print, ok := v.fingerprint()
	if !ok {
		v.depart()
		return
	}
	text, err := json.Marshal([]any{s.by, n.Variant[:8]})
	if err != nil {
		v.depart()
		return
	}
	v.reached.by, v.reached.print = sha256.Sum256(text), print
}

// begin is for a step that is computed.
func (s *step) begin() {
	v := s.v
	s.watch = newPageWatch(v)
	v.touched = s.watch
	s.printed, s.happened, s.retired = len(v.console.text), v.happened(), v.m.Stats().Instructions
	s.root = managementOf(v.root.Save())
	if err := s.watch.arm(); err != nil {
		s.watch.err = err
	}
}

// Bounds of the states that calls leave: one of fewer instructions costs less
// than to take up its state.
const (
	worthKeeping = 2_000_000
	maxCalls     = 24 // of one boot
)

// end keeps what the step came to, if it is worth it. Its error is of the
// machine, which is lost.
func (s *step) end(answer *proto.Result, callErr error) error {
	v := s.v
	s.watch.end()
	v.touched = nil
	defer s.expected.close()
	if callErr != nil || answer == nil || answer.Err != nil || v.m == nil || v.reached == nil {
		v.depart()
		return nil
	}
	c := callState{State: &bootState{Version: stateVersion}, Answer: *answer}
	var err error
	if c.State.Conditions, c.State.Written, err = s.watch.result(); err != nil || len(c.State.Written) > maxWritten {
		v.depart()
		return nil
	}
	if s.name.vary(c.State) != nil || string(managementOf(v.root.Save())) != string(s.root) || v.console.dropped {
		v.depart()
		return nil
	}
	worth := v.m.Stats().Instructions-s.retired >= worthKeeping && v.reached.kept < maxCalls
	if worth || s.expected != nil {
		if v.describe(c.State) != nil {
			v.depart()
			return nil
		}
		c.State.tell(v, s.printed, s.happened)
		m, err := v.m.Freeze()
		if err != nil {
			v.crash() // its processors do not know which pages are clean
			return &Error{Class: ClassHost, Err: err}
		}
		c.State.Machine = m.Saved
		if s.expected == nil {
			s.put(c, m.RAM)
		} else if err := s.compare(&c, m.RAM); err != nil {
			cow.CloseAll(m.RAM)
			return err
		}
	}
	s.advance(s.name.Name)
	return nil
}

// put writes the state. It takes the images.
func (s *step) put(c callState, images []*cow.Image) {
	v := s.v
	meta, err := json.Marshal(c)
	if err == nil {
		err = v.x.lab.states.Put(s.name.Name, states.State{Label: v.callLabel(s.request), Meta: meta, Images: images, Base: &v.reached.base})
	}
	if err != nil {
		cow.CloseAll(images)
		return
	}
	v.reached.rest(s.name.File(), images)
}

// compare holds what the call came to against what is kept. It takes the images
// unless they differ.
func (s *step) compare(c *callState, images []*cow.Image) error {
	s.v.x.lab.compared.Add(1)
	if err := s.expected.compareAnswer(&c.Answer); err != nil {
		return err
	}
	if err := s.expected.compare(c.State, images); err != nil {
		return err
	}
	s.v.reached.rest(s.expected.file, images)
	return nil
}
