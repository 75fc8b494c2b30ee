package nvstar

import (
	"fmt"
	"math"

	"go.starlark.net/starlark"

	"nvlab/lab"
	"nvlab/nvdimm/persist"
)

var keeps = []string{"none", "all", "random"}

// keep is which state a power failure leaves.
func (c *call) keep() persist.Keep {
	switch c.oneOf("keep", keeps...) {
	case "all":
		return persist.KeepAll
	case "random":
		return persist.KeepRandom
	}
	return persist.KeepNone
}

// assumption says once in a test that a power cut goes by no promise.
func assumption(c *call, v *vm) {
	if v.v.AssumesADR() && !v.t.assumed {
		v.t.assumed = true
		c.thread.Print(c.thread, "power_cut: the platform promises nothing (nvdimm_cap = None, flush_hints = 0): ADR is assumed, as Linux does")
	}
}

// fallback says that a power cut is not exact on this engine.
func fallback(c *call, v *vm, keep persist.Keep) {
	if why, ok := v.v.FallsBack(keep); ok {
		c.thread.Print(c.thread, "power_cut: "+why)
	}
}

// unsaved says that the platform fails to save what it promised.
func (c *call) unsaved() bool { return c.oneOf("save", "ok", "fail") == "fail" }

// drained says what of the past a platform that fails to save is not taken to
// lose.
func drained(c *call, v *vm) {
	if n := v.v.Drained(); n > 0 {
		c.thread.Print(c.thread, fmt.Sprintf("power_cut: the %d stores that were on their way to the media longest count as there: a platform has no more than %d KiB on the way", n, lab.MostUnsaved>>10))
	}
}

func powerCut(c *call, v *vm) (starlark.Value, error) {
	keep, unsaved := c.keep(), c.unsaved()
	if c.err != nil {
		return nil, c.err
	}
	if keep != persist.KeepAll {
		assumption(c, v)
	}
	fallback(c, v, keep)
	if unsaved {
		drained(c, v)
	}
	return nil, v.v.PowerCut(keep, unsaved)
}

func powerCutOn(c *call, v *vm) (starlark.Value, error) {
	cut := lab.PowerCut{
		Event: c.oneOf("event", lab.EventLabelWrite, lab.EventStore, lab.EventFlush, lab.EventFence, lab.EventFlushHint),
		Nth:   int(c.number("nth", 1, math.MaxInt32)),
		Keep:  c.keep(),

		Unsaved: c.unsaved(),
	}
	if c.given("nvdimm") {
		if d := handleArg[*dimm](c, "nvdimm", "nvdimm"); c.err == nil {
			cut.NVDIMM = d.d
		}
	}
	if offset := c.optionalSize("offset"); offset != nil {
		cut.Offset = *offset
	}
	cut.Length = c.optionalSize("length")
	if c.err != nil {
		return nil, c.err
	}
	if cut.Keep != persist.KeepAll {
		assumption(c, v)
	}
	fallback(c, v, cut.Keep)
	return nil, v.v.PowerCutOn(cut)
}

func dsmTear(c *call, d *dimm) (starlark.Value, error) {
	bytes, nth := c.size("bytes"), int(c.number("nth", 1, math.MaxInt32))
	if c.err != nil {
		return nil, c.err
	}
	return nil, d.d.Tear(uint32(min(bytes, math.MaxUint32)), nth)
}
