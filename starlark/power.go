package nvstar

import (
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

func powerCut(c *call, v *vm) (starlark.Value, error) {
	keep, save := c.keep(), c.oneOf("save", "ok", "fail")
	if c.err != nil {
		return nil, c.err
	}
	if keep != persist.KeepAll {
		assumption(c, v)
	}
	fallback(c, v, keep)
	if err := v.v.PowerCut(keep); err != nil {
		return nil, err
	}
	if save == "fail" {
		v.v.FlushFails()
	}
	return nil, nil
}

func powerCutOn(c *call, v *vm) (starlark.Value, error) {
	cut := lab.PowerCut{
		Event: c.oneOf("event", lab.EventLabelWrite, lab.EventStore, lab.EventFlush, lab.EventFence, lab.EventFlushHint),
		Nth:   int(c.number("nth", 1, math.MaxInt32)),
		Keep:  c.keep(),
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
