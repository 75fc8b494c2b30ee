package nvdimm

import "nvlab/nvdimm/firmware"

// Name is the function that a call asks for, with its DIMM's id: "nvdimm1: smart". It
// is "" if no device has such a function.
func (c *Call) Name() string {
	switch d := c.DIMM; {
	case d != nil && c.OfLabels():
		if fn := firmware.Intel.Function(c.Function); fn.OfLabels() { // whose numbers all methods of the labels have
			return d.id + ": " + fn.Name
		}
	case d != nil && d.speaks(c.Family):
		if fn := d.family.Function(c.Function); fn != nil {
			return d.id + ": " + fn.Name
		}
	case c.Handle == RootHandle:
		for _, f := range []*firmware.Family{firmware.Root, firmware.Activation} {
			if fn := f.Function(c.Function); f.Number == c.Family && fn != nil {
				return fn.Name
			}
		}
	}
	return ""
}
