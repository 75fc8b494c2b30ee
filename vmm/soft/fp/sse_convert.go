package fp

// Comi compares the low elements of a and b: UCOMISx (opcode 2E) and COMISx
// (2F), single precision without prefix and double with 0x66. OF, SF and AF
// are cleared by the instruction. ok is false for #XM: EFLAGS do not change.
func Comi(prefix, opcode byte, a, b *Vec, mxcsr *uint32) (zf, pf, cf, ok bool) {
	return false, false, false, true
}

// CvtToInt is CVTSS2SI (prefix 0xF3) and CVTSD2SI (0xF2), or with trunc
// CVTTSS2SI and CVTTSD2SI, to size 4 or 8 bytes. v is zero-extended.
func CvtToInt(prefix byte, trunc bool, src *Vec, size int, mxcsr *uint32) (v uint64, ok bool) {
	return 0, true
}

// CvtFromInt is CVTSI2SS (prefix 0xF3) and CVTSI2SD (0xF2) from the low size
// bytes, 4 or 8, of v.
func CvtFromInt(prefix byte, dst *Vec, v uint64, size int, mxcsr *uint32) bool {
	return true
}

// CvtPI2PS converts two signed 32-bit integers to the low half of dst.
func CvtPI2PS(dst *Vec, src uint64, mxcsr *uint32) bool { return true }

// CvtPI2PD converts two signed 32-bit integers; it raises nothing.
func CvtPI2PD(dst *Vec, src uint64) {}

// CvtPS2PI is CVTPS2PI, or with trunc CVTTPS2PI, of the low half of src.
func CvtPS2PI(trunc bool, src *Vec, mxcsr *uint32) (v uint64, ok bool) { return 0, true }

// CvtPD2PI is CVTPD2PI, or with trunc CVTTPD2PI.
func CvtPD2PI(trunc bool, src *Vec, mxcsr *uint32) (v uint64, ok bool) { return 0, true }
