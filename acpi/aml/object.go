package aml

// Name creates an object of a constant value (section 19.6.90).
func Name(path string, value Term) Term {
	return funcTerm(func(e *encoder) {
		e.path = append(e.path, path)
		e.op(opName)
		e.name(path)
		e.term(value)
		e.path = e.path[:len(e.path)-1]
	})
}

// Alias creates a second name of an object.
func Alias(source, alias string) Term {
	return funcTerm(func(e *encoder) {
		e.op(opAlias)
		e.name(source)
		e.name(alias)
	})
}

// Scope opens an object that exists already, so that body adds to it.
func Scope(path string, body ...Term) Term {
	return named(opScope, path, func(e *encoder) { e.terms(body) })
}

// Device creates a device.
func Device(path string, body ...Term) Term {
	return named(opDevice, path, func(e *encoder) { e.terms(body) })
}

// ThermalZone creates a thermal zone.
func ThermalZone(path string, body ...Term) Term {
	return named(opThermalZone, path, func(e *encoder) { e.terms(body) })
}

// PowerResource creates a power resource of the deepest sleep state that keeps
// it on.
func PowerResource(path string, level uint8, order uint16, body ...Term) Term {
	return named(opPowerRes, path, func(e *encoder) {
		e.bytes(level, byte(order), byte(order>>8))
		e.terms(body)
	})
}

// MethodRule says whether threads may be inside a method at the same time, and
// the sync level of a serialized one.
type MethodRule uint8

// Rules of a method (section 20.2.5.2, MethodFlags).
const (
	NotSerialized MethodRule = 0
	Serialized    MethodRule = 1 << 3
)

// SyncLevel is Serialized at a level of 0 to 15.
func SyncLevel(level uint8) MethodRule { return Serialized | MethodRule(level&0xF)<<4 }

// Method creates a control method of 0 to 7 arguments. A method that creates
// named objects must be Serialized.
func Method(path string, argc int, rule MethodRule, body ...Term) Term {
	return named(opMethod, path, func(e *encoder) {
		if argc < 0 || argc > 7 {
			e.fail("method of %d arguments: the limit is 7", argc)
		}
		e.bytes(byte(argc) | byte(rule))
		e.terms(body)
	})
}

// ObjectKind is a type of object as ObjectType and External number them
// (table 19.31).
type ObjectKind uint8

// Kinds of objects.
const (
	UnknownObj ObjectKind = iota
	IntObj
	StrObj
	BuffObj
	PkgObj
	FieldUnitObj
	DeviceObj
	EventObj
	MethodObj
	MutexObj
	OpRegionObj
	PowerResObj
	ProcessorObj
	ThermalZoneObj
	BuffFieldObj
)

// External declares an object of another table: for a method, argc tells
// readers of the byte code how many arguments its calls have. It is for them
// alone: an interpreter that ran it would create the name, and loading the
// table that defines the object would fail. It is therefore encoded as
// compilers do, within If (Zero).
func External(path string, kind ObjectKind, argc int) Term {
	return If(Zero, funcTerm(func(e *encoder) {
		if argc < 0 || argc > 7 {
			e.fail("external %s of %d arguments: the limit is 7", path, argc)
		}
		e.op(opExternal)
		e.name(path)
		e.bytes(byte(kind), byte(argc))
	}))
}

// Mutex creates a mutex of a sync level of 0 to 15.
func Mutex(path string, level uint8) Term {
	return funcTerm(func(e *encoder) {
		e.op(opMutex)
		e.name(path)
		e.bytes(level & 0xF)
	})
}

// Event creates an event.
func Event(path string) Term {
	return funcTerm(func(e *encoder) {
		e.op(opEvent)
		e.name(path)
	})
}
