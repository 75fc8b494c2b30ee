package nvdimm

import (
	"fmt"
	"math/bits"
	"slices"
	"time"

	"nvlab/acpi"
	"nvlab/internal/option"
	"nvlab/internal/units"
	"nvlab/nvdimm/backend"
	"nvlab/nvdimm/firmware"
)

// Config is what a machine is told about its memory devices.
type Config struct {
	Enabled     bool                // the machine option nvdimm; without it every Plug fails
	Memory      uint64              // RAM in bytes
	Slots       int                 // 0 to 256
	MaxMem      uint64              // RAM and memory devices in bytes, a multiple of 4 KiB; 0 is Memory
	Base        uint64              // guest-physical start of the window for memory devices
	Limit       uint64              // guest-physical address that no device may reach; 0 is none
	Cap         *int64              // nvdimm-cap: platform capabilities, 32 bits; nil or 0 announces none
	FlushHints  int                 // addresses of each DIMM of which a write drains what is on its way
	HintBase    uint64              // guest-physical address of the flush hints, a page a slot
	Persistence string              // nvdimm-persistence: "cpu" is cap 3, "mem-ctrl" is cap 2
	Strict      bool                // refuse capabilities that the specification does not allow
	ARS         *firmware.ARSConfig // nil: the root device knows of no errors
}

const (
	maxSlots = 256 // QEMU's ACPI_MAX_RAM_SLOTS

)

// Root is the NVDIMM root device: the DIMMs of one machine, over all its
// power-ons. While the machine runs, only its Mailbox may be at work.
type Root struct {
	config       Config
	capabilities uint32
	dimms        []*DIMM  // by slot
	memory       []Memory // by slot
	changed      bool     // since the guest began to read the FIT
	foreignFIT   []byte   // instead of that of the DIMMs
	ars          firmware.ARS
	late         LateReply

	// OnCall sees every request before it takes effect, and may refuse it.
	OnCall func(*Call)
	// OnError gets failures of the host behind a call, which the guest sees
	// as a hardware error: a backend that was truncated, for one.
	OnError func(error)
	// OnZero is called when firmware has made zeros of n bytes of a DIMM's
	// memory, on the medium.
	OnZero func(d *DIMM, offset, n uint64)

	// OnPoison is called after each call to firmware, which may have changed
	// what of the media cannot be read.
	OnPoison func()

	// OnFlushHint sees every write to a flush hint of a DIMM.
	OnFlushHint func(*DIMM)
	// OnEvent gets what the guest is to be told now.
	OnEvent func(Event)
	// Clock is the guest's time since power-on; nil stands still.
	Clock func() time.Duration
}

// NewRoot checks a configuration.
func NewRoot(c Config) (*Root, error) {
	if err := c.checkMemory(); err != nil {
		return nil, err
	}
	if err := c.checkHints(); err != nil {
		return nil, err
	}
	if err := c.checkARS(); err != nil {
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
	case c.MaxMem == 0 && c.Slots > 0: // "max-size" is what QEMU calls it
		return fmt.Errorf("slots specified but no max-size: slots=%d needs maxmem, at least memory and all memory devices together", c.Slots)
	case c.MaxMem == 0:
		return nil
	case c.MaxMem%backend.PageSize != 0:
		down := units.Down(c.MaxMem, backend.PageSize)
		return fmt.Errorf("maximum memory size must by aligned to multiple of %d bytes: maxmem is %d, the nearest are %s and %s", backend.PageSize, c.MaxMem, units.Size(down), units.Size(down+backend.PageSize))
	case c.MaxMem < c.Memory:
		return fmt.Errorf("invalid value of maxmem: maximum memory size (%#x) must be at least the initial memory size (%#x)", c.MaxMem, c.Memory)
	case c.MaxMem == c.Memory && c.Slots > 0:
		return fmt.Errorf("invalid value of maxmem: memory slots were specified but maximum memory size (%#x) is equal to the initial memory size (%#x)", c.MaxMem, c.Memory)
	case c.Limit > 0 && c.MaxMem-c.Memory > c.Limit-min(c.Base, c.Limit):
		end := c.Base + c.MaxMem - c.Memory
		//lint:ignore ST1005 QEMU's words
		return fmt.Errorf("Address space limit %#x < %#x phys-bits too low (%d): maxmem of %s takes phys_bits of at least %d", c.Limit-1, end-1, bits.Len64(c.Limit-1), units.Size(c.MaxMem), bits.Len64(end-1))
	case c.MaxMem > backend.MaxSize:
		return fmt.Errorf("unsupported amount of maximum memory: maxmem is %d, the largest is %s", c.MaxMem, units.Size(backend.MaxSize))
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
		return 0, &option.Error{Err: fmt.Errorf("nvdimm_cap=%d has undefined bits %#x: ACPI 6.2A table 5-137 defines bits 0 to 2", caps, caps&^defined), Option: "strict", Want: false}
	case c.Strict && caps&acpi.CapCPUCacheFlush != 0 && caps&acpi.CapMemoryController == 0:
		return 0, &option.Error{Err: fmt.Errorf("nvdimm_cap=%d: if bit 0 is set to 1 then bit 1 shall be set to 1 as well: give %d", caps, caps|acpi.CapMemoryController), Option: "strict", Want: false}
	}
	return uint32(caps), nil
}

// DIMMs lists what is plugged, in slot order.
func (r *Root) DIMMs() []*DIMM { return slices.Clone(r.dimms) }

// Capabilities are the platform capabilities announced, 0 if none.
func (r *Root) Capabilities() uint32 { return r.capabilities }

// highestBit is the number of the highest bit set in v, which is not 0.
func highestBit(v uint32) uint8 { return uint8(31 - bits.LeadingZeros32(v)) }
