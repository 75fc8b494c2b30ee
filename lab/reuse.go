package lab

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"nvlab/guest"
	"nvlab/guest/proto"
	"nvlab/internal/cow"
	"nvlab/internal/states"
	"nvlab/internal/units"
	"nvlab/nvdimm"
	"nvlab/nvdimm/backend"
	"nvlab/nvdimm/power"
	"nvlab/vmm"
)

// statesShare is which part of the bound of a store of guests its states may
// take besides: 1 of so many.
const statesShare = 4

// States is the folder of the states that runs with these folders of guests and of
// states keep; "" are the user's, and the one beside the guests.
func States(cache, dir string) (*states.Store, error) {
	store, err := guest.Open(cache)
	if err != nil {
		return nil, err
	}
	limit, err := guest.Limit()
	if err != nil {
		return nil, err
	}
	return states.Open(cmp.Or(dir, filepath.Join(store.Dir(), guest.StatesDir)), max(limit/statesShare, 1)), nil
}

// bootOrRecall brings a machine that is prepared to where its agent answers: by
// what an earlier boot like this came to, or by booting it. What comes of it is
// the same.
func (v *VM) bootOrRecall(ctx context.Context, image *image, timeout time.Duration) error {
	tables, err := v.guestTables()
	if err != nil {
		v.off()
		return err
	}
	names, ok := v.bootNames(image, tables, timeout)
	verify := ok && v.x.lab.opts.Verify
	v.continued = false
	v.recalled = ok && !verify && v.recall(names.whole, func(f *states.Found) bool { return v.recallOne(image, f) })
	if v.recalled {
		return nil
	}
	r := rememberer{v: v, name: stateName{names.whole}, root: v.root.Save(), printed: len(v.console.text), happened: v.happened()}
	defer r.end()
	if verify {
		r.expected = v.expected(names.whole)
	}
	if ok {
		r.watch = newPageWatch(v)
		v.touched = r.watch
	}
	if ok {
		err = (&prefix{rememberer: &r, image: image, key: names.prefix, nfit: nfitOf(tables), timeout: timeout}).come(ctx, tables)
	} else if err = v.start(image, tables, v.earlySeed()); err != nil {
		v.off()
	} else {
		err = v.toDriver(ctx, timeout)
	}
	if err != nil {
		return err
	}
	if err := v.awaitAgent(ctx, timeout); err != nil || !ok || v.state != Running {
		return err
	}
	return r.remember()
}

// recall makes the VM what an earlier boot came to, if there was one like this.
func (v *VM) recall(name states.Name, one func(*states.Found) bool) bool {
	if !v.mapped() {
		return false // the boot will say why
	}
	for _, f := range v.x.lab.states.Find(name) {
		done := one(f)
		f.Close()
		if done {
			return true
		}
	}
	return false
}

// mapped maps the NVDIMMs' memory, and says that it is there.
func (v *VM) mapped() bool {
	for _, d := range v.dimms {
		if _, err := d.Map(); err != nil {
			return false
		}
	}
	return true
}

func (v *VM) recallOne(image *image, f *states.Found) bool {
	s, err := decodeBoot(f.Meta())
	if err != nil || !v.holds(s.Conditions) {
		return false
	}
	images, err := f.Images(nil)
	if err != nil {
		return false
	}
	if !v.tryTake(image, s, images, v.seed()) {
		cow.CloseAll(images)
		return false
	}
	v.console.booted = len(v.console.text)
	v.arrive(f.At(), images)
	return true
}

// tryTake makes a VM that is off and prepared what a state is of, or leaves it as it
// is.
func (v *VM) tryTake(image *image, s *bootState, images []*cow.Image, seed uint64) bool {
	root := v.root.Save()
	off, err := v.power.Save()
	if err != nil {
		return false
	}
	v.forgetFault() // of the machine that was
	if err := v.take(image, s, images, seed); err != nil {
		v.stop()
		v.klog = kernelLog{}
		v.power.Load(off, nil)
		v.root.Load(root, v.ownBackends())
		return false
	}
	return true
}

// ownBackends are those of the VM's DIMMs, by slot.
func (v *VM) ownBackends() map[int]*backend.Backend {
	own := map[int]*backend.Backend{}
	for _, d := range v.dimms {
		own[d.Slot()] = d.backend.b
	}
	return own
}

// take makes a VM that is off and prepared what a state is of, with random numbers of a
// seed from there on.
func (v *VM) take(image *image, s *bootState, images []*cow.Image, seed uint64) error {
	power, err := s.Power.state()
	if err != nil {
		return err
	}
	config := v.config()
	config.Seed = seed
	m, err := (&vmm.Snapshot{Saved: s.Machine, RAM: images}).Machine(config)
	if err != nil {
		return err
	}
	v.m, v.client = m, &proto.Client{}
	if err := v.root.Load(s.Root, v.ownBackends()); err != nil {
		return err
	}
	if err := v.power.Load(power, m.Observe); err != nil {
		return err
	}
	if err := v.showAll(); err != nil {
		return err
	}
	if err := v.addDevices(); err != nil {
		return err
	}
	log, err := s.Log.in(m.Memory())
	if err != nil {
		return err
	}
	client := s.Client.Client()
	client.Files = image.kept.Open
	if err := v.writePages(s.Written); err != nil {
		return err
	}
	v.poison, v.missed = nil, "" // of the machine that was
	if err := v.armPoison(); err != nil {
		return err
	}
	// Nothing fails from here on.
	v.replay(s)
	v.klog, v.client, v.lost = log, client, nil
	v.image, v.symbols, v.tasks, v.pushed = image, nil, nil, nil
	v.tables, v.state = m.Tables(), Running
	return nil
}

// tell fills in what was printed and what happened since.
func (s *bootState) tell(v *VM, printed, happened int) {
	s.Console, s.Lines = v.console.text[printed:], v.console.endsSince(printed)
	s.Happened = v.happenedSince(happened, printed)
}

// replay has the VM have said what a state has, and had happen to it.
func (v *VM) replay(s *bootState) {
	printed := len(v.console.text)
	v.console.replay(s.Console, s.Lines)
	v.happenAgain(s.Happened, printed)
}

// A rememberer keeps what a boot comes to.
type rememberer struct {
	v        *VM
	name     stateName
	watch    *pageWatch
	root     *nvdimm.RootState // before
	printed  int               // bytes on the console, before
	happened int               // likewise

	base     *states.Base // the prefix, if that is kept
	expected *expected    // what the boot is to come to; nil if that is not known
}

// end is for when the boot is over, however it ended.
func (r *rememberer) end() {
	if r.watch != nil {
		r.watch.end()
		r.v.touched = nil
	}
	if r.base != nil {
		cow.CloseAll(r.base.Images)
	}
	r.expected.close()
}

// maxWritten bounds the pages of NVDIMMs that a state has.
const maxWritten = 4 << 20 / 4096

// remember keeps the VM, whose agent answers. Its error is of the machine, which
// is lost; that the state was not kept is none.
func (r *rememberer) remember() error {
	v := r.v
	s := &bootState{Version: stateVersion}
	var err error
	if s.Conditions, s.Written, err = r.watch.result(); err != nil || len(s.Written) > maxWritten || v.console.dropped {
		return nil
	}
	if err := v.describe(s); err != nil || !sameManagement(r.root, s.Root) {
		return nil // a function of a DIMM may have changed any byte
	}
	s.tell(v, r.printed, r.happened)
	images, err := r.keep(&r.name, "boot", s, r.expected)
	if images != nil {
		v.arrive(r.name.Name, images)
	}
	return err
}

// keep keeps a state of the VM, or compares it with what it is to be if that is known, and
// returns the memory; nil if it is not kept.
func (r *rememberer) keep(name *stateName, what string, s *bootState, expected *expected) ([]*cow.Image, error) {
	v := r.v
	m, err := v.m.Freeze()
	if err != nil {
		v.crash() // its processors do not know which pages are clean
		return nil, &Error{Class: ClassHost, Err: err}
	}
	s.Machine = m.Saved
	if expected != nil {
		v.x.lab.compared.Add(1)
		err = cmp.Or(expected.compare(s, m.RAM), name.vary(s))
	} else if r.put(name, what, s, m.RAM, r.base, nil) != nil {
		return nil, m.Close()
	}
	if err != nil {
		m.Close()
		return nil, err
	}
	return m.RAM, nil
}

// A stateName is a name that is yet without its variant.
type stateName struct{ states.Name }

// vary fills in the variant: what the state depends on besides its key.
func (n *stateName) vary(s *bootState) error {
	depends := any(s.Conditions)
	if s.Prefix != nil && s.Prefix.Own != nil {
		depends = s.Prefix.Own
	}
	text, err := json.Marshal(depends)
	n.Variant = sha256.Sum256(text)
	return err
}

// describe fills in what a VM is besides its machine, its console and the bytes
// of its NVDIMMs.
func (v *VM) describe(s *bootState) error {
	power, err := v.power.Save()
	if err != nil {
		return err
	}
	return v.describeWith(power, s)
}

func (v *VM) describeWith(power *power.State, s *bootState) (err error) {
	if s.Power, err = savePower(power); err != nil {
		return err
	}
	if s.Client, err = v.client.State(); err != nil {
		return err
	}
	s.Root, s.Log = v.root.Save(), v.klog.saved()
	return nil
}

// put writes the state. A disk that is full, or a folder that cannot be written,
// only means that the next run computes it again.
func (r *rememberer) put(name *stateName, what string, s *bootState, images []*cow.Image, base, otherwise *states.Base) error {
	meta, err := s.encode()
	if err != nil {
		return err
	}
	if err := name.vary(s); err != nil {
		return err
	}
	return r.v.x.lab.states.Put(name.Name, states.State{Label: r.v.bootLabel(what), Meta: meta, Images: images, Base: base, Else: otherwise})
}

// bootLabel is the VM's boot, for people: its guest, its NVDIMMs, and the test
// that came there first.
func (v *VM) bootLabel(what string) string {
	o := &v.opts
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s of %s, %d MiB, %s", v.x.name, what, v.image.Name, o.Memory>>20, units.Count(o.CPUs, "CPU"))
	for i, d := range v.dimms {
		if i == 4 {
			fmt.Fprintf(&b, ", and %d more", len(v.dimms)-i)
			break
		}
		fmt.Fprintf(&b, ", %s of %s", d.ID(), units.Size(d.backend.Size()))
	}
	return b.String()
}

// callLabel is a call of the VM, for people.
func (v *VM) callLabel(request proto.Request) string {
	const most = 60
	what := ""
	switch c := request.(type) {
	case *proto.Command:
		what = strings.TrimPrefix(strings.Join(c.Argv, " "), "sh -c ")
	case proto.ReadPath:
		what = "read " + c.Path
	case proto.WritePath:
		what = "write " + c.Path
	}
	if what = strings.Join(strings.Fields(what), " "); len(what) > most {
		what = strings.ToValidUTF8(what[:most], "") + "..."
	}
	return fmt.Sprintf("%s: %q after a boot of %s", v.x.name, what, v.image.Name)
}

func sameManagement(a, b *nvdimm.RootState) bool {
	x, y := managementOf(a), managementOf(b)
	return x != nil && slices.Equal(x, y)
}

// managementOf is what firmware keeps of a root's DIMMs, as text.
func managementOf(s *nvdimm.RootState) []byte {
	var list []any
	for i := range s.DIMMs {
		list = append(list, s.DIMMs[i].Slot, s.DIMMs[i].Management)
	}
	text, err := json.Marshal(list)
	if err != nil {
		return nil
	}
	return text
}
