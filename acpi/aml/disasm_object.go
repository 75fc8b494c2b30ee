package aml

import (
	"fmt"
	"strings"
)

// object gives the object or control statement of an opcode that was taken and
// that may stand only in a list of statements.
func (d *disassembler) object(op uint16) (text string, ok bool) {
	switch op {
	case opName:
		return d.nameObject(), true
	case opScope:
		return d.scoped("Scope", false, ""), true
	case opDevice:
		return d.scoped("Device", true, ""), true
	case opThermalZone:
		return d.scoped("ThermalZone", true, ""), true
	case opPowerRes:
		return d.scoped("PowerResource", true, "bw"), true
	case opProcessor:
		return d.scoped("Processor", true, "bdb"), true
	case opMethod:
		return d.method(), true
	case opExternal:
		return d.external(), true
	case opRegion:
		return d.region(), true
	case opField, opIndexField, opBankField:
		return d.field(op), true
	case opIf:
		return d.conditional("If"), true
	case opElse:
		return d.body("Else"), true
	case opWhile:
		return d.conditional("While"), true
	}
	return "", false
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

// scoped gives an object that holds others: its name, further operands and a
// list.
func (d *disassembler) scoped(word string, declares bool, operands string) string {
	var text string
	d.pkg(func(end int) {
		n := d.name()
		text = word + " (" + n.String()
		if operands != "" {
			text += ", " + d.operands(operands)
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
		text += ")" + d.within(scope, func() string { return d.block(end) })
	})
	return text
}

func (d *disassembler) method() string {
	var text string
	d.pkg(func(end int) {
		n := d.name()
		flags := d.uint(1)
		obj := d.declare(n)
		if d.err != nil {
			return
		}
		obj.method, obj.argc = true, int(flags&7)
		text = fmt.Sprintf("Method (%s, %d, NotSerialized", n, flags&7)
		if flags&8 != 0 {
			text = fmt.Sprintf("Method (%s, %d, Serialized", n, flags&7)
			if level := flags >> 4; level != 0 {
				text += fmt.Sprintf(", %d", level)
			}
		}
		if d.namesOnly {
			return
		}
		text += ")" + d.within(obj, func() string { return d.block(end) })
	})
	return text
}

var objectKinds = [...]string{"UnknownObj", "IntObj", "StrObj", "BuffObj", "PkgObj", "FieldUnitObj", "DeviceObj",
	"EventObj", "MethodObj", "MutexObj", "OpRegionObj", "PowerResObj", "ProcessorObj", "ThermalZoneObj", "BuffFieldObj"}

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

// conditional gives If or While, and the Else that follows an If.
func (d *disassembler) conditional(word string) string {
	var text string
	d.pkg(func(end int) {
		text = word + " (" + d.operand() + ")"
		if d.err == nil {
			text += d.block(end)
		}
	})
	if word == "While" || d.peek() != opElse {
		return text
	}
	d.pos++
	text += "\n" + d.margin()
	if !d.elseIsIf() {
		return text + d.body("Else")
	}
	d.pkg(func(int) {
		d.pos++
		text += d.nested(func() string { return "Else" + d.conditional("If") })
	})
	return text
}

// body gives a word and a list in braces.
func (d *disassembler) body(word string) string {
	d.pkg(func(end int) { word += d.block(end) })
	return word
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
