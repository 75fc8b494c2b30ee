package fp

// Fxsave writes the x87 part of an FXSAVE64 image: bytes 0 to 23 and 32 to
// 159. MXCSR, its mask and the XMM registers are the caller's.
func (x *X87) Fxsave(image *[512]byte) {}

// Fxrstor reads what Fxsave writes.
func (x *X87) Fxrstor(image *[512]byte) {}
