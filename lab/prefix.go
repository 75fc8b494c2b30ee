package lab

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"time"

	"nvlab/internal/cow"
	"nvlab/internal/states"
	"nvlab/nvdimm"
	"nvlab/nvdimm/persist"
	"nvlab/nvdimm/power"
	"nvlab/vmm"
	"nvlab/vmm/observe"
)

// The prefix of a boot ends where the guest's driver of NVDIMMs is about to read the NFIT, or
// without an NFIT where the channel of the agent is found. So boots have the same prefix
// whatever their NVDIMMs are and hold, and however often the VM was switched on.
//
// But the kernel reads the NFIT before: its header where it lists the tables, all of it for
// its sum, and the header again for sysfs, for a microsecond each time. So a prefix is kept
// in stages. A stage is the machine right before it reads the NFIT, and a hash of what it is
// passageTime later; the last stage is the end. A boot with another NFIT takes the machine of
// a stage, gives it its own NFIT, and has it run for passageTime. If it is then what the other
// was, it will be that until it reads the NFIT again, and takes the next stage. If not, it
// goes on by itself.
//
// To keep stages takes a fifth of a boot or more. So the first boot keeps the end of its
// prefix alone, for boots with the same NFIT, and the first with another NFIT the stages.

// passageTime is guest time from a stage on, after which machines with different NFITs are
// to be the same. The header's sum is on the stack for some 10 µs (Linux 5.10 to 7.0).
const passageTime = 100 * time.Microsecond

// maxStages is more than any kernel has.
const maxStages = 16

// A prefix is that of one boot.
type prefix struct {
	*rememberer
	image   *image
	key     prefixKey
	nfit    []byte // empty if the VM has none
	timeout time.Duration

	console  console  // before the boot
	timeline timeline // likewise
	told     int      // bytes on the console at the latest stage's end
}

// A prefixStage is what the state of a stage has besides a VM.
type prefixStage struct {
	NFIT    uint64      // where the guest has it; in the state there are zeros
	Own     *states.Sum // of the NFIT, if the state is for that one only
	Passage *states.Sum // of what the machine is passageTime later; nil of the last stage
	Of      states.Sum  // the NFIT that Passage is of
}

// come runs a machine that is prepared to the end of its prefix, from the last stage on that
// is kept and can be had. It keeps those that come.
func (p *prefix) come(ctx context.Context, tables [][]byte) error {
	v := p.v
	p.console, p.timeline, p.told = v.console.save(), v.timeline, len(v.console.text)
	p.timeline.list = slices.Clip(p.timeline.list)
	v.asked = false
	turn, err := v.x.lab.prefixes.begin(ctx, p.key.Sum, v.turn == nil)
	if err != nil {
		v.off()
		return err
	}
	defer turn.end()
	n, staged := 0, false
	if v.x.lab.opts.Verify {
		staged = p.isKept(p.key.stage(0))
	} else {
		var over bool
		n, over, err = p.recall(ctx)
		if over || err != nil {
			turn.staged = n > 0
			return err
		}
		staged = n > 0 || p.isKept(p.key.end())
	}
	if n == 0 {
		if err := v.start(p.image, tables, v.earlySeed()); err != nil {
			v.off()
			return err
		}
	}
	err = p.record(ctx, n, staged)
	turn.staged = staged || p.base == nil // there is nothing to wait for where nothing is kept
	return err
}

// isKept says that there is a state of a name.
func (p *prefix) isKept(name states.Name) bool {
	list := p.v.x.lab.states.Find(name)
	for _, f := range list {
		f.Close()
	}
	return len(list) > 0
}

// recall takes the stages that are kept, as long as the VM's NFIT makes no difference. It
// returns how many it took, and whether the prefix is over.
func (p *prefix) recall(ctx context.Context) (n int, over bool, err error) {
	v := p.v
	if !v.mapped() {
		return 0, false, nil // the boot will say why
	}
	off, err := v.power.Save()
	if err != nil {
		return 0, false, nil
	}
	fresh, err := v.freshPower(off)
	if err != nil {
		return 0, false, nil
	}
	own := p.own()
	if s, images := p.find(p.key.end(), &own); s != nil {
		if !p.take(0, s, images, fresh) {
			p.undo(off)
			return 0, false, nil
		}
		p.over()
		return 0, true, nil
	}
	for ; n < maxStages; n++ {
		s, images := p.find(p.key.stage(n), nil)
		if s == nil {
			break
		}
		if n > 0 {
			v.discard()
			v.power.Load(off, nil)
		}
		if !p.take(n, s, images, fresh) {
			p.undo(off)
			return 0, false, nil
		}
		if s.Prefix.Passage == nil {
			p.over()
			return n, true, nil
		}
		sum, err := p.pass(ctx, &vmm.Snapshot{Saved: s.Machine, RAM: images}, s.Prefix.NFIT)
		if err != nil {
			return n, true, err
		}
		if sum != *s.Prefix.Passage {
			return n, true, p.finish(ctx)
		}
	}
	return n, false, nil
}

// undo makes a VM without a machine what it was before the prefix, with that power.
func (p *prefix) undo(off *power.State) {
	v := p.v
	v.console.load(p.console)
	v.timeline, p.told = p.timeline, len(v.console.text)
	v.power.Load(off, nil)
	v.root.Load(p.root, v.ownBackends())
	p.onto(nil) // what could not be taken is about to be replaced
}

// over is for a VM that took the end of its prefix.
func (p *prefix) over() {
	p.v.continued = true
	p.v.happened()
}

// own names the VM's NFIT.
func (p *prefix) own() states.Sum { return sha256.Sum256(p.nfit) }

// find is the state of a name that is for an NFIT, or for any if that is nil; nil if none is
// kept. The images are p's base.
func (p *prefix) find(name states.Name, own *states.Sum) (*bootState, []*cow.Image) {
	for _, f := range p.v.x.lab.states.Find(name) {
		defer f.Close()
		s, err := decodeBoot(f.Meta())
		if err != nil || s.Prefix == nil || !reflect.DeepEqual(s.Prefix.Own, own) {
			continue
		}
		images, err := f.Images(p.base)
		if err != nil {
			continue
		}
		p.onto(f.Base(images))
		return s, images
	}
	return nil, nil
}

// onto has the boot be kept as a difference to that.
func (p *prefix) onto(base *states.Base) {
	if p.base != nil {
		cow.CloseAll(p.base.Images)
	}
	p.base = base
}

// take makes a VM whose machine is gone, or was none yet, what stage n is, with its own
// NVDIMMs as they are at power-on.
func (p *prefix) take(n int, s *bootState, images []*cow.Image, fresh *power.State) bool {
	v := p.v
	was, err := s.Power.state()
	if err != nil {
		return false
	}
	model, ok := was.Model.On(fresh.Model)
	if !ok {
		return false
	}
	was.Model, was.Media = model, fresh.Media
	if s.Power, err = savePower(was); err != nil {
		return false
	}
	s.Root = p.root
	if n == 0 {
		s.Happened = []Happening{v.switchedOn()}
	}
	if i := slices.IndexFunc(s.Machine.Tables, isNFIT); i >= 0 {
		s.Machine.Tables[i] = p.nfit
	}
	if !v.tryTake(p.image, s, images, v.earlySeed()) {
		return false
	}
	p.told = len(v.console.text)
	if _, err := v.m.Memory().WriteAt(p.nfit, int64(s.Prefix.NFIT)); err != nil {
		v.discard()
		return false
	}
	if err := p.watch.arm(); err != nil {
		p.watch.err = err
	}
	return true
}

// freshPower is what is durable of the NVDIMMs at power-on of a VM whose power is off.
func (v *VM) freshPower(off *power.State) (*power.State, error) {
	defer v.power.Load(off, nil)
	v.power.PowerOn(func(observe.Observer) error { return nil })
	for _, d := range v.dimms {
		if err := v.power.Add(d.DIMM); err != nil {
			return nil, err
		}
	}
	return v.power.Save()
}

// record has the boot go on from stage n, which is the first that is not kept, and keeps
// stages, or else the end of the prefix alone, as long as nothing speaks against it.
func (p *prefix) record(ctx context.Context, n int, staged bool) error {
	v := p.v
	at, lines, ok := v.placeOfNFIT()
	if !staged {
		lines = &observe.Watch{}
	}
	for ; ok && n < maxStages; n++ {
		stands, err := p.toStage(ctx, lines)
		if err != nil {
			return err
		}
		last := v.m.Channel().Found()
		if last {
			v.happened()
			stands, err = v.awaitDriver(ctx, p.timeout)
			if err != nil {
				return err
			}
			if len(p.nfit) == 0 {
				stands = true
			}
		}
		if !stands || !p.clean() {
			break
		}
		kept, err := p.recordStage(ctx, n, at, last, staged)
		if err != nil || last {
			return err
		}
		if !kept {
			break
		}
	}
	return p.finish(ctx)
}

// recordStage keeps the VM as stage n, and has it go on until that is over.
func (p *prefix) recordStage(ctx context.Context, n int, at uint64, last, staged bool) (kept bool, err error) {
	s, stage, err := p.freeze(at)
	if err != nil || s == nil {
		return false, err
	}
	defer func() {
		if p.base == nil || len(stage.RAM) == 0 || p.base.Images[0] != stage.RAM[0] {
			stage.Close()
		}
	}()
	if !last {
		sum, err := p.pass(ctx, stage, at)
		if err != nil {
			return false, err
		}
		s.Prefix.Passage = &sum
	}
	if staged {
		kept, err = p.keepStage(p.key.stage(n), fmt.Sprintf("stage %d of a prefix", n+1), s, stage.RAM)
		if err != nil || !last || !p.v.x.lab.opts.Verify {
			return kept, err
		}
	}
	own := p.own()
	s.Prefix.Own = &own
	p.print(s, len(p.console.text))
	return p.keepStage(p.key.end(), "prefix of a boot", s, stage.RAM)
}

// finish has the boot go on to the end of its prefix, and keeps nothing.
func (p *prefix) finish(ctx context.Context) error { return p.v.toDriver(ctx, p.timeout) }

// toStage runs the machine until it stands before a load from these lines, or the channel was
// found.
func (p *prefix) toStage(ctx context.Context, lines *observe.Watch) (stands bool, err error) {
	v := p.v
	stands, err = v.runToLoad(ctx, p.timeout, lines, func() bool { return v.m.Channel().Found() })
	if err != nil {
		v.happened()
		v.crash()
	}
	return stands, err
}

// placeOfNFIT is where a guest has its NFIT, and the lines that it is in, none if it has no
// NFIT; false if that is not there as it was placed.
func (v *VM) placeOfNFIT() (at uint64, lines *observe.Watch, ok bool) {
	lines = &observe.Watch{}
	nfit := nfitOf(v.tables)
	if len(nfit) == 0 {
		return 0, lines, true
	}
	r, ok := v.m.TableAt(nfitSignature)
	have := make([]byte, len(nfit))
	if !ok || r.Size != uint64(len(have)) {
		return 0, nil, false
	}
	if _, err := v.m.Memory().ReadAt(have, int64(r.Base)); err != nil || !bytes.Equal(have, nfit) {
		return 0, nil, false
	}
	for a := r.Base &^ (persist.LineSize - 1); a < r.Base+r.Size; a += persist.LineSize {
		lines.Add(a)
	}
	return r.Base, lines, true
}

// clean says that the guest did nothing by which it could know one NVDIMM from another, or
// from none: it neither found one nor missed one, and nothing happened, a fault least of all.
func (p *prefix) clean() bool {
	v := p.v
	return !p.watch.any() && !v.asked && v.m.Highest() < v.m.Layout().Devices.Base && !v.console.dropped && v.console.watch.fault == nil && v.state == Running && !v.power.Failed() &&
		len(v.timeline.list) == len(p.timeline.list)+1 && reflect.DeepEqual(v.root.Save(), p.root)
}

// freeze saves the VM without what is its own: its NVDIMMs, and its NFIT.
func (p *prefix) freeze(at uint64) (*bootState, *vmm.Snapshot, error) {
	v := p.v
	durable, err := v.power.Save()
	if err != nil {
		return nil, nil, nil
	}
	none := persist.NewModel(persist.Config{}).Save()
	model, ok := durable.Model.On(none)
	if !ok {
		return nil, nil, nil
	}
	durable.Model, durable.Media = model, nil
	s := &bootState{Version: stateVersion, Prefix: &prefixStage{NFIT: at, Of: p.own()}}
	if err := v.describeWith(durable, s); err != nil {
		return nil, nil, nil
	}
	s.Root = &nvdimm.RootState{}
	p.print(s, p.told)

	ram := v.m.Memory()
	_, err = ram.WriteAt(make([]byte, len(p.nfit)), int64(at))
	if err != nil {
		return nil, nil, nil
	}
	m, err := v.m.Freeze()
	if err == nil {
		_, err = ram.WriteAt(p.nfit, int64(at))
	}
	if err != nil {
		v.crash() // its processors do not know which pages are clean
		return nil, nil, &Error{Class: ClassHost, Err: err}
	}
	s.Machine = withoutNVDIMMs(m.Saved)
	return s, m, nil
}

// print has a state have what is on the console from a place on.
func (p *prefix) print(s *bootState, from int) {
	s.Console, s.Lines = append([]byte(nil), p.v.console.text[from:]...), p.v.console.endsSince(from)
}

// withoutNVDIMMs is a machine without what the NVDIMMs make of it.
func withoutNVDIMMs(s *vmm.Saved) *vmm.Saved {
	c := *s
	c.Others, c.Tables = nil, withoutNFIT(s.Tables)
	return &c
}

// nfitSignature is that of the table that prefixes do not depend on.
const nfitSignature = "NFIT"

// nfitOf is the NFIT among tables, nil if there is none.
func nfitOf(tables [][]byte) []byte {
	if i := slices.IndexFunc(tables, isNFIT); i >= 0 {
		return tables[i]
	}
	return nil
}

func isNFIT(table []byte) bool { return bytes.HasPrefix(table, []byte(nfitSignature)) }

// withoutNFIT is tables with zeros in place of what their first NFIT says.
func withoutNFIT(tables [][]byte) [][]byte {
	tables = slices.Clone(tables)
	if i := slices.IndexFunc(tables, isNFIT); i >= 0 {
		zeros := make([]byte, len(tables[i]))
		copy(zeros, nfitSignature)
		tables[i] = zeros
	}
	return tables
}

// pass runs a machine that was just frozen, or made of a stage, for passageTime, and returns a
// hash of what it is then but for its NFIT, which is at an address.
func (p *prefix) pass(ctx context.Context, from *vmm.Snapshot, at uint64) (sum states.Sum, err error) {
	v := p.v
	p.told = len(v.console.text)
	if _, err := v.runUntil(ctx, min(v.m.Clock()+passageTime, endOfBoot(p.timeout)), func() bool { return false }); err != nil {
		v.happened()
		v.crash()
		return sum, err
	}
	defer func() { p.told = len(v.console.text) }()
	m, err := v.m.Save()
	if err != nil {
		return sum, &Error{Class: ClassHost, Err: err}
	}
	h := sha256.New()
	text, err := json.Marshal([]any{withoutNVDIMMs(m), string(v.console.text[p.told:]), v.console.endsSince(p.told)})
	if err != nil {
		return sum, &Error{Class: ClassBug, Err: err}
	}
	h.Write(text)
	own := vmm.Range{Base: at, Size: uint64(len(p.nfit))}
	err = v.m.Differing(from, func(addr uint64, have, had []byte) {
		have, had = without(own, addr, have), without(own, addr, had)
		if !bytes.Equal(have, had) {
			h.Write(binary.LittleEndian.AppendUint64(nil, addr))
			h.Write(have)
		}
	})
	if err != nil {
		return sum, &Error{Class: ClassHost, Err: err}
	}
	return states.Sum(h.Sum(nil)), nil
}

// without is memory at an address with zeros in place of what is in a range.
func without(r vmm.Range, addr uint64, mem []byte) []byte {
	from, to := max(r.Base, addr), min(r.Base+r.Size, addr+uint64(len(mem)))
	if from >= to {
		return mem
	}
	mem = bytes.Clone(mem)
	clear(mem[from-addr : to-addr])
	return mem
}

// keepStage keeps a state, as a difference to that of another prefix if there is one, else to
// the stage before, and has its images be p's base. Or it compares it with what it is to be.
// False says that there was no room for it, or that what follows is not the same.
func (p *prefix) keepStage(as states.Name, what string, s *bootState, ram []*cow.Image) (kept bool, err error) {
	v, name := p.v, stateName{as}
	if !v.x.lab.opts.Verify {
		if p.put(&name, what, s, ram, nil, p.base) != nil {
			return false, nil
		}
		p.onto(&states.Base{Name: name.File(), Images: ram})
		return true, nil
	}
	if err := name.vary(s); err != nil {
		return false, err
	}
	expect := v.expected(name.Name)
	defer expect.close()
	if expect == nil {
		return true, nil
	}
	if s.Prefix.Passage == nil {
		v.x.lab.compared.Add(1)
	}
	unlike := false
	if kept := expect.state.Prefix; kept.Of != s.Prefix.Of { // the guest may make something else of it
		unlike = kept.Passage != nil && s.Prefix.Passage != nil && *kept.Passage != *s.Prefix.Passage
		s.Prefix.Of = kept.Of
		if unlike {
			s.Prefix.Passage = kept.Passage
		}
	}
	return !unlike, expect.compare(s, ram)
}

// switchedOn is that the machine is on.
func (v *VM) switchedOn() Happening {
	return Happening{Times: 1, Kind: KindPower, What: fmt.Sprintf("on: boot %d", v.boots)}
}
