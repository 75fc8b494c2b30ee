package nvdimm

import (
	"cmp"
	"errors"
	"fmt"
	"math/bits"
	"slices"

	"nvlab/acpi"
)

// Config is what a machine is told about its memory devices.
type Config struct {
	Enabled     bool   // the machine option nvdimm; without it every Plug fails
	Memory      uint64 // RAM in bytes
	Slots       int    // 0 to 256
	MaxMem      uint64 // RAM and memory devices in bytes, a multiple of 4 KiB; 0 is Memory
	Base        uint64 // guest-physical start of the window for memory devices
	Cap         *int64 // nvdimm-cap: platform capabilities, 32 bits; nil or 0 announces none
	Persistence string // nvdimm-persistence: "cpu" is cap 3, "mem-ctrl" is cap 2
	Strict      bool   // refuse capabilities that the specification does not allow
}

const (
	maxSlots = 256 // QEMU's ACPI_MAX_RAM_SLOTS

	// slotRoom is the room in the window that each slot adds for alignment.
	slotRoom = 1 << 30

	// addressAlign is the least alignment that DIMMs are given. QEMU packs
	// them to their own; behind one whose size is odd, as a label area makes
	// it, Linux then finds the next one misaligned and makes no fsdax or
	// devdax namespace there (memremap_compat_align is at most 16 MiB).
	addressAlign = 16 << 20
)

// Root is the NVDIMM root device: the DIMMs of one machine, over all its
// power-ons. While the machine runs, only its Mailbox may be at work.
type Root struct {
	config       Config
	capabilities uint32
	dimms        []*DIMM // by slot
	changed      bool    // since the guest began to read the FIT

	// OnCall sees every request before it takes effect, and may refuse it.
	OnCall func(*Call)
	// OnError gets failures of the host behind a call, which the guest sees
	// as a hardware error: a backend that was truncated, for one.
	OnError func(error)
}

// NewRoot checks a configuration.
func NewRoot(c Config) (*Root, error) {
	if err := c.checkMemory(); err != nil {
		return nil, err
	}
	caps, err := c.capabilities()
	if err != nil {
		return nil, err
	}
	return &Root{config: c, capabilities: caps, changed: true}, nil
}

// checkMemory follows QEMU's -m (hw/core/machine.c, machine_set_mem).
func (c Config) checkMemory() error {
	switch {
	case c.Slots < 0 || c.Slots > maxSlots:
		return fmt.Errorf("unsupported amount of memory slots: %d: slots is 0 to %d", c.Slots, maxSlots)
	case c.MaxMem == 0 && c.Slots > 0:
		return fmt.Errorf("slots specified but no max-size: slots=%d needs maxmem, at least memory and all NVDIMMs together", c.Slots)
	case c.MaxMem == 0:
		return nil
	case c.MaxMem%PageSize != 0:
		down := alignDown(c.MaxMem, PageSize)
		return fmt.Errorf("maximum memory size must by aligned to multiple of %d bytes: maxmem is %d, the nearest are %s and %s", PageSize, c.MaxMem, sizeText(down), sizeText(down+PageSize))
	case c.MaxMem < c.Memory:
		return fmt.Errorf("invalid value of maxmem: maximum memory size (%#x) must be at least the initial memory size (%#x)", c.MaxMem, c.Memory)
	case c.MaxMem == c.Memory && c.Slots > 0:
		return fmt.Errorf("invalid value of maxmem: memory slots were specified but maximum memory size (%#x) is equal to the initial memory size (%#x)", c.MaxMem, c.Memory)
	case c.MaxMem > maxSize:
		return fmt.Errorf("unsupported amount of maximum memory: maxmem is %d, the largest is %s", c.MaxMem, sizeText(maxSize))
	}
	return nil
}

// capabilities joins the two options. Strict demands what ACPI 6.2 Errata A
// table 5-137 says of the bits.
func (c Config) capabilities() (uint32, error) {
	var caps int64
	switch c.Persistence {
	case "":
	case "cpu":
		caps = acpi.CapCPUCacheFlush | acpi.CapMemoryController
	case "mem-ctrl":
		caps = acpi.CapMemoryController
	default:
		return 0, fmt.Errorf("-machine nvdimm-persistence=%s: unsupported option: it is \"cpu\" or \"mem-ctrl\"", c.Persistence)
	}
	if c.Cap == nil {
		return uint32(caps), nil
	}
	if c.Persistence != "" {
		return 0, fmt.Errorf("nvdimm_cap=%d and nvdimm_persistence=%q set the same value: give one of them", *c.Cap, c.Persistence)
	}
	const defined = acpi.CapCPUCacheFlush | acpi.CapMemoryController | acpi.CapMirroring
	switch caps = *c.Cap; {
	case caps < 0 || caps > 0xffffffff:
		return 0, fmt.Errorf("nvdimm_cap=%d does not fit 32 bits: it is 0 to %#x", caps, defined)
	case c.Strict && caps&^defined != 0:
		return 0, fmt.Errorf("nvdimm_cap=%d has undefined bits %#x: ACPI 6.2A table 5-137 defines bits 0 to 2; strict=False lets it through", caps, caps&^defined)
	case c.Strict && caps&acpi.CapCPUCacheFlush != 0 && caps&acpi.CapMemoryController == 0:
		return 0, fmt.Errorf("nvdimm_cap=%d: if bit 0 is set to 1 then bit 1 shall be set to 1 as well: give %d; strict=False lets it through", caps, caps|acpi.CapMemoryController)
	}
	return uint32(caps), nil
}

// DIMMs lists what is plugged, in slot order.
func (r *Root) DIMMs() []*DIMM { return slices.Clone(r.dimms) }

// Capabilities are the platform capabilities announced, 0 if none.
func (r *Root) Capabilities() uint32 { return r.capabilities }

// total is the size of all memory devices that maxmem has room for. Only
// DIMMs count: initial RAM takes no slot, and maxmem has Memory in it. The
// document's "RAM devices" are hot-pluggable ones, which this machine has not.
func (r *Root) total() uint64 {
	if r.config.MaxMem == 0 {
		return 0
	}
	return r.config.MaxMem - r.config.Memory
}

// window is the guest-physical range for memory devices.
func (r *Root) window() (base, end uint64) {
	return r.config.Base, r.config.Base + r.total() + uint64(r.config.Slots)*slotRoom
}

// PlugConfig is -device nvdimm.
type PlugConfig struct {
	Backend   *Backend
	ID        string // "" for a name of the slot
	LabelSize uint64 // 0, or at least 128 KiB
	Unarmed   bool
	Slot      *int // nil for the lowest free one
}

// Plug adds a DIMM. One that is refused leaves no trace.
func (r *Root) Plug(c PlugConfig) (*DIMM, error) {
	if !r.config.Enabled {
		return nil, errors.New("nvdimm is not enabled: missing 'nvdimm' in '-M': the machine was made with nvdimm=False")
	}
	if c.Backend == nil {
		return nil, errors.New("'memdev' property must be set: give a backend")
	}
	if err := r.checkBusy(c.Backend); err != nil {
		return nil, err
	}
	size, err := pmemSize(c.Backend, c.LabelSize)
	if err != nil {
		return nil, err
	}
	slot, err := r.chooseSlot(c.Slot)
	if err != nil {
		return nil, err
	}
	id, err := r.chooseID(c.ID, slot)
	if err != nil {
		return nil, err
	}
	addr, err := r.place(size, max(c.Backend.Align(), addressAlign))
	if err != nil {
		return nil, err
	}
	d := &DIMM{id: id, slot: slot, backend: c.Backend, addr: addr, size: size, labelSize: c.LabelSize, unarmed: c.Unarmed}
	if err := c.Backend.plug(c.LabelSize); err != nil {
		return nil, err
	}
	r.dimms = append(r.dimms, d)
	slices.SortFunc(r.dimms, func(a, b *DIMM) int { return cmp.Compare(a.slot, b.slot) })
	r.changed = true
	return d, nil
}

func (r *Root) checkBusy(b *Backend) error {
	for _, d := range r.dimms {
		if d.backend == b {
			return fmt.Errorf("can't use already busy memdev: %s: it is plugged as %s; a DIMM needs a backend of its own", b, d.id)
		}
	}
	return nil
}

// pmemSize is what a label area leaves (QEMU hw/mem/nvdimm.c,
// nvdimm_prepare_memory_region).
func pmemSize(b *Backend, labelSize uint64) (uint64, error) {
	if labelSize > 0 && labelSize < MinLabelSize {
		return 0, fmt.Errorf("label_size=%d: Property 'nvdimm.label-size' (%#x) is required at least %#x: the nearest is %s", labelSize, labelSize, MinLabelSize, sizeText(MinLabelSize))
	}
	size := uint64(0)
	if labelSize < b.Size() {
		size = alignDown(b.Size()-labelSize, b.Align())
	}
	if size == 0 {
		err := fmt.Errorf("the size of memdev %s (%#x) is too small to contain nvdimm label (%#x) and aligned PMEM (%#x)", b, b.Size(), labelSize, b.Align())
		if room := b.Size() - min(b.Size(), b.Align()); room >= MinLabelSize {
			err = fmt.Errorf("%w: label_size is at most %s", err, sizeText(room))
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
		free[d.slot] = false
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

// chooseID checks a name as QEMU does (util/id.c, id_wellformed).
func (r *Root) chooseID(id string, slot int) (string, error) {
	taken := func(id string) bool {
		return slices.ContainsFunc(r.dimms, func(d *DIMM) bool { return d.id == id })
	}
	if id == "" {
		for n := slot; ; n++ {
			if id = fmt.Sprintf("nvdimm%d", n); !taken(id) {
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

// place finds an address: the lowest that is free (QEMU hw/mem/memory-device.c).
func (r *Root) place(size, align uint64) (uint64, error) {
	used := uint64(0)
	for _, d := range r.dimms {
		used += d.size
	}
	if total := r.total(); size > total-used {
		err := fmt.Errorf("not enough space, currently %#x in use of total space for memory devices %#x", used, total)
		if want, fits := alignUp(r.config.Memory+used+size, PageSize); fits {
			err = fmt.Errorf("%w: this DIMM of %#x bytes needs maxmem of at least %s", err, size, sizeText(want))
		}
		return 0, err
	}
	base, end := r.window()
	byAddress := slices.SortedFunc(slices.Values(r.dimms), func(a, b *DIMM) int { return cmp.Compare(a.addr, b.addr) })
	addr, ok := alignUp(base, align)
	for _, d := range byAddress {
		if !ok || addr+size <= d.addr {
			break
		}
		addr, ok = alignUp(max(addr, d.addr+d.size), align)
	}
	if !ok || addr > end || size > end-addr {
		return 0, fmt.Errorf("could not find position in guest address space for memory device - memory fragmented due to alignments: %#x bytes at a multiple of %#x within [%#x:%#x]", size, align, base, end)
	}
	return addr, nil
}

// highestBit is the number of the highest bit set in v, which is not 0.
func highestBit(v uint32) uint8 { return uint8(31 - bits.LeadingZeros32(v)) }
