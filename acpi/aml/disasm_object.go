package aml

import (
	"fmt"
	"strings"
)

// object writes the object or control statement of an opcode that was taken and
// that may stand only in a list of statements. It is false for any other.
func (d *disassembler) object(op uint16) bool {
	switch op {
	case opName:
		d.write("%s", d.nameObject())
	case opScope:
		d.scoped("Scope", false, "")
	case opDevice:
		d.scoped("Device", true, "")
	case opThermalZone:
		d.scoped("ThermalZone", true, "")
	case opPowerRes:
		d.scoped("PowerResource", true, "bw")
	case opProcessor:
		d.scoped("Processor", true, "bdb")
	case opMethod:
		d.method()
	case opExternal:
		d.write("%s", d.external())
	case opRegion:
		d.write("%s", d.region())
	case opField, opIndexField, opBankField:
		d.write("%s", d.field(op))
	case opIf:
		if !d.externals() {
			d.conditional("If")
		}
	case opElse:
		d.otherwise()
	case opWhile:
		d.conditional("While")
	default:
		return false
	}
	return true
}

// nameObject gives Name, whose value is an EISA ID if the name says so.
func (d *disassembler) nameObject() string {
	n := d.name()
	d.declare(n)
	if last := len(n.segs) - 1; last >= 0 && (n.segs[last] == "_HID" || n.segs[last] == "_CID") && d.peek() == opDWord {
		d.pos++
		v := uint32(d.uint(4))
		if id, ok := unpackEISAID(v); ok && d.err == nil {
			return fmt.Sprintf("Name (%s, EisaId (%q))", n, id)
		}
		return fmt.Sprintf("Name (%s, 0x%08X)", n, v)
	}
	return fmt.Sprintf("Name (%s, %s)", n, d.operand())
}

// scoped writes an object that holds others: its name, further operands and a
// list.
func (d *disassembler) scoped(word string, declares bool, operands string) {
	d.pkg(func(end int) {
		n := d.name()
		more := ""
		if operands != "" {
			more = ", " + d.operands(operands)
		}
		if d.err != nil {
			return
		}
		var scope *node
		if !declares {
			scope = d.scope.lookup(n)
		}
		if scope == nil {
			scope = d.declare(n)
		}
		d.write("%s (%s%s)", word, n, more)
		d.blockIn(scope, end)
	})
}

func (d *disassembler) method() {
	d.pkg(func(end int) {
		n := d.name()
		flags := d.uint(1)
		obj := d.declare(n)
		if d.err != nil {
			return
		}
		obj.method, obj.argc = true, int(flags&7)
		if d.namesOnly {
			return
		}
		rule := "NotSerialized"
		if flags&8 != 0 {
			rule = "Serialized"
			if level := flags >> 4; level != 0 {
				rule += fmt.Sprintf(", %d", level)
			}
		}
		d.write("Method (%s, %d, %s)", n, flags&7, rule)
		d.blockIn(obj, end)
	})
}

var objectKinds = [...]string{"UnknownObj", "IntObj", "StrObj", "BuffObj", "PkgObj", "FieldUnitObj", "DeviceObj",
	"EventObj", "MethodObj", "MutexObj", "OpRegionObj", "PowerResObj", "ProcessorObj", "ThermalZoneObj", "BuffFieldObj"}

// externals writes the declarations of an If (Zero) that holds nothing else,
// which is how compilers encode them. It is false, and takes nothing, for any
// other If.
func (d *disassembler) externals() bool {
	ahead := *d
	var list []string
	ahead.pkg(func(end int) {
		if ahead.opcode() != opZero {
			ahead.fail("another condition")
		}
		for ahead.err == nil && ahead.pos < end {
			if ahead.opcode() != opExternal {
				ahead.fail("another statement")
			}
			list = append(list, ahead.external())
		}
	})
	if ahead.err != nil || len(list) == 0 || ahead.peek() == opElse {
		return false
	}
	d.pos = ahead.pos
	d.write("%s", strings.Join(list, "\n"+d.margin()))
	return true
}

func (d *disassembler) external() string {
	n := d.name()
	kind, argc := d.uint(1), d.uint(1)
	if argc > 7 {
		d.fail("external %s of %d arguments: the limit is 7", n, argc)
	}
	if d.err != nil {
		return ""
	}
	if obj := d.scope.lookup(n); obj == nil {
		obj = d.declare(n)
		obj.method, obj.argc = ObjectKind(kind) == MethodObj, int(argc)
	}
	text := "External (" + n.String()
	if kind < uint64(len(objectKinds)) {
		text += ", " + objectKinds[kind]
	}
	if argc > 0 {
		text += ", UnknownObj, {" + strings.TrimSuffix(strings.Repeat("UnknownObj, ", int(argc)), ", ") + "}"
	}
	return text + ")"
}

var spaces = [...]string{"SystemMemory", "SystemIO", "PCI_Config", "EmbeddedControl", "SMBus", "SystemCMOS",
	"PciBarTarget", "IPMI", "GeneralPurposeIo", "GenericSerialBus", "PCC"}

func (d *disassembler) region() string {
	n := d.name()
	d.declare(n)
	v := d.uint(1)
	space := fmt.Sprintf("0x%02X", v)
	if v < uint64(len(spaces)) {
		space = spaces[v]
	}
	return fmt.Sprintf("OperationRegion (%s, %s, %s)", n, space, d.operands("tt"))
}

var accesses = [...]string{"AnyAcc", "ByteAcc", "WordAcc", "DWordAcc", "QWordAcc", "BufferAcc"}

func (d *disassembler) access(v uint64) string {
	if v >= uint64(len(accesses)) {
		d.fail("field access type %d: valid are 0 to 5", v)
		return ""
	}
	return accesses[v]
}

func (d *disassembler) field(op uint16) string {
	var text string
	d.pkg(func(end int) {
		switch op {
		case opField:
			text = "Field (" + d.operands("n")
		case opIndexField:
			text = "IndexField (" + d.operands("nn")
		default:
			text = "BankField (" + d.operands("nnt")
		}
		flags := d.uint(1)
		text += ", " + d.access(flags&0xF)
		text += [...]string{", NoLock", ", Lock"}[flags>>4&1]
		if rule := flags >> 5; rule < 3 {
			text += [...]string{", Preserve", ", WriteAsOnes", ", WriteAsZeros"}[rule]
		} else {
			d.fail("field update rule %d: valid are 0 to 2", rule)
		}
		text += ")" + d.units(end)
	})
	return text
}

// units gives a field list (section 20.2.5.2, FieldList).
func (d *disassembler) units(end int) string {
	outer := d.margin()
	var lines []string
	bit := 0
	for d.pos < end && d.err == nil {
		var s string
		switch d.peek() {
		case 0: // ReservedField
			d.pos++
			n := d.pkgLength()
			bit += n
			if bit%8 == 0 {
				s = fmt.Sprintf("Offset (0x%02X)", bit/8)
			} else {
				s = fmt.Sprintf(", %d", n)
			}
		case 1: // AccessField
			d.pos++
			access := d.access(d.uint(1) & 0xF)
			s = fmt.Sprintf("AccessAs (%s, 0x%02X)", access, d.uint(1))
		case 2: // ConnectField
			d.pos++
			s = "Connection (" + d.superName() + ")"
		case 3: // ExtendedAccessField
			d.pos++
			access := d.access(d.uint(1) & 0xF)
			s = fmt.Sprintf("AccessAs (%s, 0x%02X, 0x%02X)", access, d.uint(1), d.uint(1))
		default:
			n := d.name()
			if len(n.segs) != 1 || n.root || n.parents != 0 {
				d.fail("field unit %s is not one name segment", n)
				break
			}
			d.declare(n)
			bits := d.pkgLength()
			bit += bits
			s = fmt.Sprintf("%s, %d", n, bits)
		}
		lines = append(lines, outer+"    "+s)
	}
	if len(lines) == 0 {
		return " {}"
	}
	return "\n" + outer + "{\n" + strings.Join(lines, ",\n") + "\n" + outer + "}"
}

// conditional writes If or While, and the Else that follows an If.
func (d *disassembler) conditional(word string) {
	d.pkg(func(end int) {
		d.write("%s (%s)", word, d.operand())
		d.block(end)
	})
	if word == "While" || d.peek() != opElse {
		return
	}
	d.pos++
	d.write("\n%s", d.margin())
	if !d.elseIsIf() {
		d.otherwise()
		return
	}
	d.pkg(func(int) {
		d.pos++
		d.write("Else")
		d.nested(func() { d.conditional("If") })
	})
}

// otherwise writes Else.
func (d *disassembler) otherwise() {
	d.write("Else")
	d.pkg(d.block)
}

// elseIsIf says whether the package of an Else, at pos, holds an If and its own
// Else alone.
func (d *disassembler) elseIsIf() bool {
	peek := *d
	is := false
	peek.pkg(func(end int) {
		if peek.peek() != opIf {
			return
		}
		peek.pos++
		peek.pkg(func(int) {})
		if peek.peek() == opElse {
			peek.pos++
			peek.pkg(func(int) {})
		}
		is = peek.err == nil && peek.pos == end
	})
	return is
}
