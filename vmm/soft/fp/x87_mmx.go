package fp

// EnterMMX is what every MMX instruction but EMMS does first: the top of the
// stack becomes register 0, and no register is empty (SDM vol. 1, 9.5).
func (x *X87) EnterMMX() {
	x.SW &^= swTop
	x.Tag = 0xFF
}

// MMX gives register MMi for reading, or for writing if TouchMMX follows.
func (x *X87) MMX(i int) *uint64 { return &x.R[i&7].Sig }

// TouchMMX marks MMi as written: sign and exponent of the x87 register become
// all ones.
func (x *X87) TouchMMX(i int) { x.R[i&7].SE = 0xFFFF }

// EMMS empties all registers; the top of the stack becomes register 0 (SDM vol.
// 3, table 12-1).
func (x *X87) EMMS() {
	x.SW &^= swTop
	x.Tag = 0
}
