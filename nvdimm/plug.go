package nvdimm

import (
	"cmp"
	"errors"
	"fmt"
	"nvlab/internal/option"
	"nvlab/internal/units"
	"nvlab/nvdimm/backend"
	"nvlab/nvdimm/firmware"
	"slices"
)

// PlugConfig is -device nvdimm, or device_add of one.
type PlugConfig struct {
	Backend   *backend.Backend
	ID        string // "" for a name of the slot
	LabelSize uint64 // 0, or at least 128 KiB
	Unarmed   bool
	Slot      *int             // nil for the lowest free one
	Node      int              // proximity domain
	Addr      *uint64          // guest-physical; nil or 0 for the lowest that is free
	UUID      string           // kept, and without effect, as in QEMU on x86
	Regions   int              // equal parts that the guest sees as regions of their own; 0 is 1
	Virtio    bool             // a virtio-pmem device: no slot, labels or regions
	Family    *firmware.Family // whose _DSM it speaks; nil for labels only
	Identity

	// Management is what the DIMM knew when it was last plugged; nil of a new one.
	Management *firmware.State

	// Nodes is how many NUMA nodes the running machine told its guest of; 0
	// of a machine that is off, which has as many as its DIMMs need.
	Nodes int
}

// Plug adds a DIMM. One that is refused leaves no trace.
func (r *Root) Plug(c PlugConfig) (*DIMM, error) {
	if !r.config.Enabled && !c.Virtio {
		return nil, &option.Error{Err: errors.New("nvdimm is not enabled: missing 'nvdimm' in '-M'"), Option: "nvdimm", Want: true}
	}
	if c.Backend == nil {
		return nil, errors.New("'memdev' property must be set: give a backend")
	}
	if err := r.checkBusy(c.Backend); err != nil {
		return nil, err
	}
	if err := checkUUID(c.UUID); err != nil {
		return nil, err
	}
	if c.Backend.ReadOnly() && !c.Unarmed {
		return nil, &option.Error{Err: fmt.Errorf("'unarmed' property must be 'on' since memdev %s is read-only", c.Backend), Option: "unarmed", Want: true}
	}
	size, err := pmemSize(c.Backend, c.LabelSize)
	if err != nil {
		return nil, err
	}
	if err := checkRegions(c.Regions, size); err != nil {
		return nil, err
	}
	if f := c.Family; f != nil && f != firmware.Intel && c.LabelSize == 0 && c.Nodes > 0 {
		return nil, fmt.Errorf("family=%q, label_size=0: a running machine's empty slots have methods for labels, and Linux takes a DIMM that has them and no labels for a broken one: label_size is at least %s", f.Name, units.Size(MinLabelSize))
	}
	slot, err := r.chooseSlot(c.Slot)
	kind := "nvdimm"
	if c.Virtio {
		kind = "virtio"
		slot, err = r.choosePMEM()
	}
	if err != nil {
		return nil, err
	}
	id, err := r.chooseID(kind, c.ID, slot)
	if err != nil {
		return nil, err
	}
	if err := checkNode(c.Node, c.Nodes); err != nil {
		return nil, err
	}
	if err := r.checkIdentity(c.Identity, slot, c.Nodes > 0); err != nil {
		return nil, err
	}
	addr, err := r.place(size, c.Backend.Align(), addressAlign, c.Addr)
	if err != nil {
		return nil, err
	}
	d := &DIMM{
		id: id, slot: slot, backend: c.Backend, addr: addr, size: size, labelSize: c.LabelSize,
		unarmed: c.Unarmed, node: c.Node, uuid: c.UUID, virtio: c.Virtio, identity: c.Identity.of(slot), regions: max(c.Regions, 1),
		family: c.Family, management: firmware.NewState(),
	}
	if c.Management != nil {
		d.management = *c.Management
		if c.Nodes > 0 {
			d.powerOn() // as the machine was before
		}
	}
	if err := c.Backend.SetLabelSize(c.LabelSize); err != nil {
		return nil, err
	}
	r.dimms = append(r.dimms, d)
	slices.SortFunc(r.dimms, func(a, b *DIMM) int { return cmp.Compare(a.slot, b.slot) })
	r.changed = true
	return d, nil
}

// Withdraw takes a DIMM out that no guest knows of: the machine is off, or
// refused the DIMM after Plug.
func (r *Root) Withdraw(d *DIMM) {
	r.dimms = slices.DeleteFunc(r.dimms, func(o *DIMM) bool { return o == d })
	r.changed = true
}

const maxRegions = 16

func checkRegions(n int, size uint64) error {
	switch {
	case n < 0 || n > maxRegions:
		return fmt.Errorf("regions=%d: a DIMM has 1 to %d", n, maxRegions)
	case n > 1 && size%(uint64(n)*backend.PageSize) != 0:
		return fmt.Errorf("regions=%d: %#x bytes of persistent memory do not divide into %d parts of whole pages", n, size, n)
	}
	return nil
}

// maxNodes is how many NUMA nodes QEMU's machines have (MAX_NODES).
const maxNodes = 128

// checkNode follows QEMU's pc_dimm_realize for a machine that runs. One that
// is off gets the nodes that its DIMMs name.
func checkNode(node, nodes int) error {
	switch {
	case nodes > 0 && (node < 0 || node >= nodes):
		return fmt.Errorf("'DIMM property node has value %d' which exceeds the number of numa nodes: %d: a running machine has the nodes it booted with", node, nodes)
	case node < 0 || node >= maxNodes:
		return fmt.Errorf("'DIMM property node has value %d' which exceeds the number of numa nodes: at most %d", node, maxNodes)
	}
	return nil
}

// Nodes is the number of NUMA nodes that the memory devices need, at least 1.
func (r *Root) Nodes() int {
	n := 1
	for _, d := range r.dimms {
		n = max(n, d.node+1)
	}
	for _, m := range r.memory {
		n = max(n, m.Node+1)
	}
	return n
}

func (r *Root) checkBusy(b *backend.Backend) error {
	for _, d := range r.dimms {
		if d.backend == b {
			return fmt.Errorf("can't use already busy memdev: %s: it is plugged as %s; a DIMM needs a backend of its own", b, d.id)
		}
	}
	return nil
}

// pmemSize is what a label area leaves (QEMU hw/mem/nvdimm.c,
// nvdimm_prepare_memory_region).
func pmemSize(b *backend.Backend, labelSize uint64) (uint64, error) {
	if labelSize > 0 && labelSize < MinLabelSize {
		return 0, fmt.Errorf("label_size=%d: Property 'nvdimm.label-size' (%#x) is required at least %#x: the nearest is %s", labelSize, labelSize, MinLabelSize, units.Size(MinLabelSize))
	}
	size := uint64(0)
	if labelSize < b.Size() {
		size = units.Down(b.Size()-labelSize, b.Align())
	}
	if size == 0 {
		err := fmt.Errorf("the size of memdev %s (%#x) is too small to contain nvdimm label (%#x) and aligned PMEM (%#x)", b, b.Size(), labelSize, b.Align())
		if room := b.Size() - min(b.Size(), b.Align()); room >= MinLabelSize {
			err = fmt.Errorf("%w: label_size is at most %s", err, units.Size(room))
		}
		return 0, err
	}
	return size, nil
}

func (r *Root) chooseSlot(want *int) (int, error) {
	free := make([]bool, r.config.Slots)
	for i := range free {
		free[i] = true
	}
	for _, d := range r.dimms {
		if !d.virtio {
			free[d.slot] = false
		}
	}
	for _, m := range r.memory {
		free[m.Slot] = false
	}
	lowest := slices.Index(free, true)
	hint := "none is free"
	if lowest >= 0 {
		hint = fmt.Sprintf("the lowest free one is %d", lowest)
	}
	switch {
	case len(free) == 0:
		return 0, errors.New("no slots where allocated, please specify the 'slots' option: slots is 0")
	case want != nil && (*want < 0 || *want >= len(free)):
		return 0, fmt.Errorf("invalid slot number %d, valid range is [0-%d]: %s", *want, len(free)-1, hint)
	case want != nil && !free[*want]:
		return 0, fmt.Errorf("slot %d is busy: %s", *want, hint)
	case want != nil:
		return *want, nil
	case lowest < 0:
		return 0, fmt.Errorf("no free slots available: all %d are taken; make the machine with more slots", len(free))
	}
	return lowest, nil
}

// MaxPMEM is how many virtio-pmem devices there are at most.
const MaxPMEM = 8

// choosePMEM is the number of a virtio-pmem device, which is in no slot: behind
// those of all slots.
func (r *Root) choosePMEM() (int, error) {
	for n := maxSlots; n < maxSlots+MaxPMEM; n++ {
		if !slices.ContainsFunc(r.dimms, func(d *DIMM) bool { return d.slot == n }) {
			return n, nil
		}
	}
	return 0, fmt.Errorf("all %d virtio-pmem devices of a machine are there", MaxPMEM)
}

// PMEM lists the virtio-pmem devices, in their order.
func (r *Root) PMEM() (list []*DIMM) {
	for _, d := range r.dimms {
		if d.virtio {
			list = append(list, d)
		}
	}
	return list
}

// chooseID checks a name as QEMU does (util/id.c, id_wellformed).
func (r *Root) chooseID(kind, id string, slot int) (string, error) {
	taken := func(id string) bool {
		return slices.ContainsFunc(r.dimms, func(d *DIMM) bool { return d.id == id }) ||
			slices.ContainsFunc(r.memory, func(m Memory) bool { return m.ID == id })
	}
	if id == "" {
		for n := slot; ; n++ {
			if id = fmt.Sprintf("%s%d", kind, n); !taken(id) {
				return id, nil
			}
		}
	}
	for i := range len(id) {
		c := id[i]
		letter := 'a' <= c|0x20 && c|0x20 <= 'z'
		if !letter && (i == 0 || c != '-' && c != '.' && c != '_' && (c < '0' || c > '9')) {
			return "", fmt.Errorf("id=%q: Parameter 'id' expects an identifier: letters, digits, '-', '.', '_', starting with a letter", id)
		}
	}
	if taken(id) {
		return "", fmt.Errorf("id=%q: Duplicate device ID '%s': another DIMM of this machine has it", id, id)
	}
	return id, nil
}
