package aml

// Space is the address space of an operation region (table 5.130).
type Space uint8

// Address spaces.
const (
	SystemMemory Space = iota
	SystemIO
	PCIConfig
	EmbeddedControl
	SMBus
	SystemCMOS
	PCIBarTarget
	IPMI
	GeneralPurposeIO
	GenericSerialBus
	PCC
)

// OperationRegion creates a window of length bytes at offset, both of which
// may be computed when the definition is evaluated (section 19.6.100).
func OperationRegion(path string, space Space, offset, length Term) Term {
	return funcTerm(func(e *encoder) {
		e.op(opRegion)
		e.name(path)
		e.bytes(byte(space))
		e.term(offset)
		e.term(length)
	})
}

// Access is the width of the accesses that a field makes to its region.
type Access uint8

// Widths of access (section 20.2.5.2, FieldFlags bits 3:0).
const (
	AnyAcc Access = iota
	ByteAcc
	WordAcc
	DWordAcc
	QWordAcc
	BufferAcc
)

// LockRule says whether a field's accesses take the global lock.
type LockRule uint8

// Lock rules (FieldFlags bit 4).
const (
	NoLock LockRule = 0
	Lock   LockRule = 1 << 4
)

// UpdateRule says what is written to the bits of an access outside the field.
type UpdateRule uint8

// Update rules (FieldFlags bits 6:5).
const (
	Preserve     UpdateRule = 0
	WriteAsOnes  UpdateRule = 1 << 5
	WriteAsZeros UpdateRule = 2 << 5
)

// FieldUnit is one element of a field list: a name over a number of bits, or a
// change of position or access.
type FieldUnit struct {
	emit func(e *encoder)
}

// Unit names the next bits of a field: one segment of up to four characters.
func Unit(name string, bits int) FieldUnit {
	return FieldUnit{func(e *encoder) {
		if !validSegment(name) {
			e.fail("field unit %q is not one name segment", name)
			return
		}
		e.name(name)
		e.bitLength(bits)
	}}
}

// Skip leaves the next bits of a field without a name.
func Skip(bits int) FieldUnit {
	return FieldUnit{func(e *encoder) {
		e.bytes(0)
		e.bitLength(bits)
	}}
}

// AccessAs changes the width of access of the units that follow.
func AccessAs(access Access, attribute uint8) FieldUnit {
	return FieldUnit{func(e *encoder) { e.bytes(1, byte(access), attribute) }}
}

func (e *encoder) bitLength(bits int) {
	if bits < 0 || bits > maxPkgLength(4) {
		e.fail("field unit of %d bits: valid are 0 to %d", bits, maxPkgLength(4))
		return
	}
	e.buf = appendPkgLength(e.buf, bits)
}

// Field names bits of an operation region (section 19.6.48).
func Field(region string, access Access, lock LockRule, update UpdateRule, units ...FieldUnit) Term {
	return named(opField, region, func(e *encoder) {
		e.bytes(byte(access) | byte(lock) | byte(update))
		e.units(units)
	})
}

// IndexField names bits of a bank that is reached through an index and a data
// field (section 19.6.64).
func IndexField(index, data string, access Access, lock LockRule, update UpdateRule, units ...FieldUnit) Term {
	return named(opIndexField, index, func(e *encoder) {
		e.name(data)
		e.bytes(byte(access) | byte(lock) | byte(update))
		e.units(units)
	})
}

func (e *encoder) units(units []FieldUnit) {
	for _, u := range units {
		if u.emit == nil {
			e.fail("a field unit is empty: use Unit, Skip or AccessAs")
			return
		}
		u.emit(e)
	}
}

// createField emits CreateXField (source, index, name).
func createField(code uint16, source, index Term, name string) Term {
	return funcTerm(func(e *encoder) {
		e.op(code)
		e.term(source)
		e.term(index)
		e.name(name)
	})
}

// CreateField names bits of a buffer from bit index bitIndex on. Such a field
// reads as a Buffer; interpreters before ACPI 6.4 make an Integer of one that
// fits. Use Mid for a Buffer everywhere.
func CreateField(source, bitIndex, numBits Term, name string) Term {
	return funcTerm(func(e *encoder) {
		e.op(opCreateField)
		e.term(source)
		e.term(bitIndex)
		e.term(numBits)
		e.name(name)
	})
}

// CreateBitField names bit bitIndex of a buffer.
func CreateBitField(source, bitIndex Term, name string) Term {
	return createField(opBitField, source, bitIndex, name)
}

// CreateByteField names the byte of a buffer at byteIndex.
func CreateByteField(source, byteIndex Term, name string) Term {
	return createField(opByteField, source, byteIndex, name)
}

// CreateWordField names the two bytes of a buffer at byteIndex.
func CreateWordField(source, byteIndex Term, name string) Term {
	return createField(opWordField, source, byteIndex, name)
}

// CreateDWordField names the four bytes of a buffer at byteIndex.
func CreateDWordField(source, byteIndex Term, name string) Term {
	return createField(opDWordField, source, byteIndex, name)
}

// CreateQWordField names the eight bytes of a buffer at byteIndex.
func CreateQWordField(source, byteIndex Term, name string) Term {
	return createField(opQWordField, source, byteIndex, name)
}
