package nvdimm

import (
	"encoding/binary"
	"time"
)

// Handles that are no DIMM's.
const (
	RootHandle  = 0
	FITHandle   = 0x10000 // asks for the FIT
	eventHandle = 0x10001 // asks which DIMMs' health the guest is to look at
)

// Functions of a DIMM (Intel "NVDIMM DSM Interface" 1.8, family
// 4309ac30-0d11-11e4-9191-0800200c9a66) and of the FIT's handle.
const (
	FuncQuery     = 0 // which functions there are
	FuncLabelSize = 4
	FuncGetLabel  = 5
	FuncSetLabel  = 6

	FuncReadFIT = 1 // of the FIT's handle

	funcEvent = 1 // of eventHandle
)

// Status of a call.
const (
	statusOK           = 0
	statusNotSupported = 1
	statusNoDevice     = 2
	statusInvalid      = 3
	StatusFailed       = 4     // hardware error
	statusFITChanged   = 0x100 // of the FIT's handle: read again from the start
)

// labelFunctions is what FuncQuery answers for a DIMM with a label area.
const labelFunctions = 1<<FuncQuery | 1<<FuncLabelSize | 1<<FuncGetLabel | 1<<FuncSetLabel

// Call is a request of the guest, as an observer sees it before it takes
// effect.
type Call struct {
	DIMM     *DIMM // nil: the root device, the FIT, or an empty slot
	Handle   uint32
	Revision uint32
	Family   uint16 // whose function it is, as the device numbers families
	Function uint32
	Offset   uint32        // within label area or FIT
	Length   uint32        // of the label access in bytes, as the guest gave it
	Data     string        // of a label write that is in order
	Status   uint32        // set by the observer: if not 0 the call fails with it
	Torn     uint32        // set with Status: so many bytes of Data are written even so
	Delay    time.Duration // set by the observer: the reply is that late
	Short    uint32        // set by the observer: the reply has so many bytes at most, and 4 at least; 0 is any
}

// request is a call as it came, the argument padded with what is behind it.
type request struct {
	handle, revision, function uint32
	argument                   []byte
}

func status(code uint32) []byte { return binary.LittleEndian.AppendUint32(nil, code) }

// fail reports a failure of the host.
func (r *Root) fail(err error) {
	if r.OnError != nil {
		r.OnError(err)
	}
}

// call obeys a request and gives the result: a mask for FuncQuery, else a
// status and what follows it; and how late the result is.
func (r *Root) call(q request) ([]byte, time.Duration) {
	c := Call{Handle: q.handle, Revision: q.revision, Family: uint16(q.function >> 16), Function: q.function & 0xffff}
	result := r.obey(&c, q)
	if r.OnPoison != nil {
		r.OnPoison()
	}
	if c.Short > 0 {
		result = result[:min(len(result), max(int(c.Short), 4))]
	}
	return result, c.Delay
}

func (r *Root) obey(c *Call, q request) []byte {
	for _, d := range r.dimms {
		if d.Handle() == q.handle {
			c.DIMM = d
		}
	}
	first := binary.LittleEndian.Uint32(q.argument)
	switch {
	case c.OfLabels() && (c.Function == FuncGetLabel || c.Function == FuncSetLabel):
		c.Offset, c.Length = first, binary.LittleEndian.Uint32(q.argument[4:])
		if c.labelWrite() {
			c.Data = string(q.argument[8 : 8+c.Length])
		}
	case q.handle == FITHandle && c.Function == FuncReadFIT:
		c.Offset = first
	}
	if r.OnCall != nil {
		if r.OnCall(c); c.Status != 0 {
			if n := min(int(c.Torn), len(c.Data)); n > 0 {
				if err := c.DIMM.writeLabel([]byte(c.Data[:n]), c.Offset); err != nil {
					r.fail(err)
				}
			}
			return status(c.Status)
		}
	}
	switch {
	case q.handle == FITHandle:
		return r.fitCall(c)
	case q.handle == eventHandle:
		return r.eventCall(c)
	case q.handle == RootHandle:
		return r.rootCall(c, q.argument)
	case c.DIMM == nil && c.Function != FuncQuery:
		return status(statusNoDevice)
	case c.DIMM == nil:
		return none(c)
	case c.OfLabels():
		return r.labelCall(c, q.argument)
	}
	return r.managementCall(c, q.argument)
}

// none is the answer of a device without functions.
func none(c *Call) []byte {
	if c.Function == FuncQuery {
		return status(0)
	}
	return status(statusNotSupported)
}

// fitCall reads the FIT in pieces. After a change, which may come between two
// pieces, the reader has to start again.
func (r *Root) fitCall(c *Call) []byte {
	if c.Revision != 1 || c.Function != FuncReadFIT {
		return none(c)
	}
	if c.Offset == 0 {
		r.changed = false
	} else if r.changed {
		return status(statusFITChanged)
	}
	fit := r.FIT()
	if uint64(c.Offset) > uint64(len(fit)) {
		return status(statusInvalid)
	}
	fit = fit[c.Offset:]
	return append(status(statusOK), fit[:min(len(fit), maxResult-4)]...)
}

// within says that a label access lies within the area. An empty one at the
// end does; sums in 64 bits cannot wrap.
func (c *Call) within() bool {
	return c.Length <= maxTransfer && uint64(c.Offset)+uint64(c.Length) <= c.DIMM.labelSize
}

// labelWrite says that the call will write to the label area.
func (c *Call) labelWrite() bool {
	return c.OfLabels() && c.Function == FuncSetLabel && (c.Revision == 1 || c.Revision == 2) &&
		c.DIMM.labelSize > 0 && c.within() && !c.DIMM.backend.ReadOnly()
}

// labelAt is where a byte of the label area lies in the backend.
func (d *DIMM) labelAt(offset uint32) int64 {
	return int64(d.backend.Size() - d.labelSize + uint64(offset))
}

func (d *DIMM) writeLabel(data []byte, offset uint32) error {
	return d.backend.Put(data, d.labelAt(offset))
}

// labelCall serves a DIMM. Linux asks for functions 0 to 10 with revision 1
// and for later ones with revision 2, so both know the same ones.
func (r *Root) labelCall(c *Call, argument []byte) []byte {
	d := c.DIMM
	if d.labelSize == 0 || c.Revision != 1 && c.Revision != 2 {
		return none(c)
	}
	switch c.Function {
	case FuncQuery:
		return status(labelFunctions)
	case FuncLabelSize:
		result := status(d.labelStatus())
		result = binary.LittleEndian.AppendUint32(result, uint32(d.labelSize))
		return binary.LittleEndian.AppendUint32(result, maxTransfer)
	case FuncGetLabel, FuncSetLabel:
	default:
		return status(statusNotSupported)
	}
	if !c.within() {
		return status(statusInvalid)
	}
	if c.Function == FuncSetLabel && d.backend.ReadOnly() {
		return status(statusNotSupported)
	}
	var err error
	result := status(statusOK)
	if c.Function == FuncSetLabel {
		err = d.writeLabel(argument[8:8+c.Length], c.Offset)
	} else {
		data := make([]byte, c.Length)
		_, err = d.backend.ReadAt(data, d.labelAt(c.Offset))
		result = append(result, data...)
	}
	if err != nil {
		r.fail(err)
		return status(StatusFailed)
	}
	return result
}
