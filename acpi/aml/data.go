package aml

import (
	"bytes"
	"encoding/binary"

	"nvlab/acpi/guid"
)

// Int is an integer in its shortest encoding (section 20.2.3). Integers are
// 64 bits wide only in tables whose revision, or rather that of the DSDT, is 2
// or more.
type Int uint64

// Byte, Word, DWord and QWord are integers of a chosen encoding, for tables
// whose values are patched in place and for exact sizes.
type (
	Byte  uint8
	Word  uint16
	DWord uint32
	QWord uint64
)

func (v Int) emit(e *encoder) {
	switch {
	case v <= 1:
		e.bytes(byte(v))
	case v <= 0xFF:
		Byte(v).emit(e)
	case v <= 0xFFFF:
		Word(v).emit(e)
	case v <= 0xFFFFFFFF:
		DWord(v).emit(e)
	default:
		QWord(v).emit(e)
	}
}

func (v Byte) emit(e *encoder) { e.bytes(opByte, byte(v)) }
func (v Word) emit(e *encoder) {
	e.buf = binary.LittleEndian.AppendUint16(append(e.buf, opWord), uint16(v))
}
func (v DWord) emit(e *encoder) {
	e.buf = binary.LittleEndian.AppendUint32(append(e.buf, opDWord), uint32(v))
}
func (v QWord) emit(e *encoder) {
	e.buf = binary.LittleEndian.AppendUint64(append(e.buf, opQWord), uint64(v))
}

// constant is an object of one opcode.
type constant uint16

func (c constant) emit(e *encoder) { e.op(uint16(c)) }

// Constant objects. Ones has all bits set in the width of the table's
// integers; Debug is the sink of debug output; Timer counts 100 ns ticks.
const (
	Zero     constant = opZero
	One      constant = opOne
	Ones     constant = opOnes
	Revision constant = opRevision
	Debug    constant = opDebug
	Timer    constant = opTimer
)

// Local variables and arguments of a method.
const (
	Local0 constant = opLocal0 + iota
	Local1
	Local2
	Local3
	Local4
	Local5
	Local6
	Local7
	Arg0
	Arg1
	Arg2
	Arg3
	Arg4
	Arg5
	Arg6
)

// String is a string of ASCII characters 0x01 to 0x7F.
type String string

func (s String) emit(e *encoder) {
	for i := range len(s) {
		if s[i] == 0 || s[i] > 0x7F {
			e.fail("string %q holds byte 0x%02X: strings are ASCII without NUL", string(s), s[i])
			return
		}
	}
	e.bytes(opString)
	e.buf = append(e.buf, s...)
	e.bytes(0)
}

// Buffer is a buffer of known contents.
type Buffer []byte

func (b Buffer) emit(e *encoder) { BufferOf(Int(len(b)), b...).emit(e) }

// BufferOf is a buffer whose size is computed when it is evaluated; bytes
// beyond the initializer are zero.
func BufferOf(size Term, init ...byte) Term {
	return funcTerm(func(e *encoder) {
		e.op(opBuffer)
		e.pkg(func() {
			e.term(size)
			e.bytes(init...)
		})
	})
}

// Package is a list of data objects and references.
type Package []Term

func (p Package) emit(e *encoder) {
	if len(p) > 0xFF {
		e.op(opVarPackage)
	} else {
		e.op(opPackage)
	}
	e.pkg(func() {
		if len(p) > 0xFF {
			e.term(Int(len(p)))
		} else {
			e.bytes(byte(len(p)))
		}
		e.terms(p)
	})
}

// ToUUID is the buffer of a UUID given as text, in the byte order of
// section 19.6.142.
func ToUUID(text string) Term {
	return funcTerm(func(e *encoder) {
		g, err := guid.Parse(text)
		if err != nil {
			e.fail("%w", err)
			return
		}
		Buffer(g[:]).emit(e)
	})
}

// EISAID is a compressed hardware identifier: three letters and four
// hexadecimal digits, all in upper case, as "PNP0501" (section 19.3.4).
func EISAID(id string) Term {
	return funcTerm(func(e *encoder) {
		v, ok := packEISAID(id)
		if !ok {
			e.fail("EISA ID %q is not three letters and four hexadecimal digits in upper case", id)
			return
		}
		DWord(v).emit(e)
	})
}

const hexDigits = "0123456789ABCDEF"

func packEISAID(id string) (uint32, bool) {
	if len(id) != 7 {
		return 0, false
	}
	var v uint32
	for i := range 7 {
		c := id[i]
		if i < 3 {
			if c < 'A' || c > 'Z' {
				return 0, false
			}
			v = v<<5 | uint32(c-'@')
			continue
		}
		digit := bytes.IndexByte([]byte(hexDigits), c)
		if digit < 0 {
			return 0, false
		}
		v = v<<4 | uint32(digit)
	}
	return v>>24 | v>>8&0xFF00 | v<<8&0xFF0000 | v<<24, true
}

// unpackEISAID is the inverse of packEISAID.
func unpackEISAID(v uint32) (string, bool) {
	v = v>>24 | v>>8&0xFF00 | v<<8&0xFF0000 | v<<24
	id := []byte{byte(v>>26&0x3F) + '@', byte(v>>21&0x1F) + '@', byte(v>>16&0x1F) + '@'}
	for _, c := range id {
		if c < 'A' || c > 'Z' {
			return "", false
		}
	}
	for shift := 12; shift >= 0; shift -= 4 {
		id = append(id, hexDigits[v>>shift&0xF])
	}
	return string(id), true
}
