package fp

import (
	"encoding/binary"
	"math/bits"
)

// Memory operands. All are little-endian.

func loadF80(data []byte) F80 {
	return F80{Sig: binary.LittleEndian.Uint64(data), SE: binary.LittleEndian.Uint16(data[8:])}
}

func storeF80(data []byte, v F80) {
	binary.LittleEndian.PutUint64(data, v.Sig)
	binary.LittleEndian.PutUint16(data[8:], v.SE)
}

// decodeMemory reads a float of 4 or 8 bytes, or with integer a signed integer
// of 2, 4 or 8 bytes.
func decodeMemory(data []byte, integer bool) number {
	var v uint64
	for i, b := range data {
		v |= uint64(b) << (8 * i)
	}
	switch {
	case integer:
		shift := 64 - 8*len(data)
		return integerNumber(int64(v<<shift) >> shift)
	case len(data) == 4:
		return single.decode(v)
	}
	return double.decode(v)
}

func encodeMemory(data []byte, v uint64) {
	for i := range data {
		data[i] = byte(v >> (8 * i))
	}
}

// load pushes a number from memory, which may be a NaN or denormal.
func (x *X87) load(n number) {
	if !x.empty(7) {
		if x.stackFault(true) {
			x.push(indefinite80)
		}
		return
	}
	e := x.env()
	if n.isNaN() {
		n, _ = e.propagate80(n, n)
	} else {
		e.noteDenormal(n, n)
	}
	if x.finish(&e) || e.pre&flagInvalid == 0 { // a denormal is loaded in any case
		x.push(n.encode80())
	}
}

// loadRaw pushes a value as it is: FLD m80, constants.
func (x *X87) loadRaw(v F80) {
	if !x.empty(7) {
		if x.stackFault(true) {
			x.push(indefinite80)
		}
		return
	}
	x.SW &^= swC1
	x.push(v)
}

// loadStack is FLD ST(i).
func (x *X87) loadStack(i uint8) {
	switch {
	case x.empty(i):
		if x.stackFault(false) {
			x.push(indefinite80)
		}
	default:
		x.loadRaw(*x.st(i))
	}
}

// storeStack is FST ST(i), which writes a register that may be empty.
func (x *X87) storeStack(i uint8, pop bool) {
	v := *x.st(0)
	if x.empty(0) {
		if !x.stackFault(false) {
			return
		}
		v = indefinite80
	} else {
		x.SW &^= swC1
	}
	x.set(i, v)
	if pop {
		x.pop()
	}
}

// storeFloat is FST and FSTP to memory.
func (x *X87) storeFloat(data []byte, pop bool) Fault {
	f := double
	if len(data) == 4 {
		f = single
	}
	return x.store(data, pop, f.encode(indefinite), func(e *env, n number) uint64 {
		r, special := e.propagate80(n, n)
		switch {
		case special:
		case n.kind == finite:
			r = e.round(f, n.wide())
		default:
			r = n
		}
		return f.encode(r)
	})
}

// storeInteger is FIST and FISTP, or with trunc FISTTP.
func (x *X87) storeInteger(data []byte, pop, trunc bool) Fault {
	width := uint(8 * len(data))
	return x.store(data, pop, 1<<(width-1), func(e *env, n number) uint64 {
		mode := e.mode
		if trunc {
			mode = toZero
		}
		return e.signed(n, width, mode)
	})
}

// store writes what f makes of ST(0), or indefinite for a stack underflow.
func (x *X87) store(data []byte, pop bool, indefinite uint64, f func(*env, number) uint64) Fault {
	if x.empty(0) {
		if !x.stackFault(false) {
			return NoStore
		}
		encodeMemory(data, indefinite)
	} else {
		e := x.env()
		v := f(&e, x.st(0).decode())
		unmasked := e.post &^ e.masked & (flagOverflow | flagUnderflow)
		if unmasked != 0 { // nothing is stored, so nothing is rounded
			e.post, e.roundedUp = unmasked, false
		}
		if !x.finish(&e) || unmasked != 0 {
			return NoStore
		}
		encodeMemory(data, v)
	}
	if pop {
		x.pop()
	}
	return None
}

// storeF80 is FSTP m80, which raises nothing but a stack underflow.
func (x *X87) storeF80(data []byte) Fault {
	v := *x.st(0)
	if x.empty(0) {
		if !x.stackFault(false) {
			return NoStore
		}
		v = indefinite80
	} else {
		x.SW &^= swC1
	}
	storeF80(data, v)
	x.pop()
	return None
}

// loadDecimal is FBLD: nine bytes of two digits, and a sign (SDM vol. 1,
// 4.7). Digits above 9 give a result that is not defined.
func (x *X87) loadDecimal(data []byte) {
	var v uint64
	for i := 8; i >= 0; i-- {
		v = v*100 + uint64(data[i]>>4)*10 + uint64(data[i]&15)
	}
	n := number{neg: data[9]>>7 != 0}
	if v != 0 {
		shift := bits.LeadingZeros64(v)
		n = number{kind: finite, neg: n.neg, exp: 63 - int32(shift), sig: v << shift}
	}
	x.loadRaw(n.encode80())
}

// storeDecimal is FBSTP.
func (x *X87) storeDecimal(data []byte) Fault {
	indefinite := [10]byte{7: 0xC0, 8: 0xFF, 9: 0xFF}
	if x.empty(0) {
		if !x.stackFault(false) {
			return NoStore
		}
		copy(data, indefinite[:])
		x.pop()
		return None
	}
	e := x.env()
	n := x.st(0).decode()
	r := [10]byte{}
	if n.neg {
		r[9] = 0x80
	}
	switch magnitude, inexact, ok := e.decimal(n); {
	case !ok:
		e.invalid()
		r = indefinite
	default:
		if inexact {
			e.post |= flagPrecision
		}
		for i := range 9 {
			r[i] = byte(magnitude%10 | magnitude/10%10<<4)
			magnitude /= 100
		}
	}
	if !x.finish(&e) {
		return NoStore
	}
	copy(data, r[:])
	x.pop()
	return None
}

// decimal rounds n to an integer of at most 18 digits.
func (e *env) decimal(n number) (magnitude uint64, inexact, ok bool) {
	switch n.kind {
	case zero:
		return 0, false, true
	case finite:
		magnitude, inexact, ok = e.integer(n, e.mode)
		return magnitude, inexact, ok && magnitude < 1e18
	}
	return 0, false, false
}
