package fp

// Reg executes an instruction D8..DF with a register operand, modrm C0..FF.
// ax is written by FNSTSW AX. The encodings that processors execute as
// another's alias without documenting it (FXCH4, FCOM2, FSTP1 and so on) are
// accepted.
func (x *X87) Reg(op, modrm byte, flags *Flags, ax *uint16) Fault {
	if modrm < 0xC0 {
		return UD
	}
	// Those that do not wait.
	switch uint16(op)<<8 | uint16(modrm) {
	case 0xDBE0, 0xDBE1, 0xDBE4: // FNENI, FNDISI, FNSETPM: of the 8087 and 80287, nothing since
		return None
	case 0xDBE2: // FNCLEX
		x.SW &^= swFlags | swStackFault | swPending | swBusy
		return None
	case 0xDBE3:
		x.init()
		return None
	case 0xDFE0:
		*ax = x.SW
		return None
	}
	if op < 0xD8 || op > 0xDF {
		return UD
	}
	run := regForms[op-0xD8][modrm-0xC0]
	if run == nil {
		return UD
	}
	if x.Pending() {
		return MF
	}
	run(x, modrm&7, flags)
	return None
}

type regForm func(x *X87, i uint8, flags *Flags)

// regForms is by opcode, from D8, and modrm, from C0. Nil is #UD, or an
// instruction that does not wait.
var regForms [8][64]regForm

func init() {
	for op := range regForms {
		for modrm := range regForms[op] {
			regForms[op][modrm] = decodeReg(byte(0xD8+op), byte(0xC0+modrm))
		}
	}
}

func decodeReg(op, modrm byte) regForm {
	reg := modrm >> 3 & 7
	switch op {
	case 0xD8:
		return arithmeticForm(reg, false, false)
	case 0xD9:
		return form9(modrm)
	case 0xDA, 0xDB:
		return formAB(op == 0xDB, modrm)
	case 0xDC:
		return arithmeticForm(reg, true, false)
	case 0xDD:
		return formD(reg)
	case 0xDE:
		if reg == 3 && modrm != 0xD9 {
			return nil
		}
		return arithmeticForm(reg, true, true)
	case 0xDF:
		return formF(reg)
	}
	return nil
}

// arithmeticForm is D8, DC and DE. With the destination ST(i) the reg field
// selects the reverse of subtraction and division: DC E0+i, FSUBR, computes
// ST(0) - ST(i) (SDM vol. 2, A.5).
func arithmeticForm(reg uint8, toI, pop bool) regForm {
	if reg == 2 || reg == 3 {
		pops := int(reg - 2)
		if pop {
			pops++
		}
		return func(x *X87, i uint8, _ *Flags) { x.compareStack(i, true, pops) }
	}
	if !toI {
		return func(x *X87, i uint8, _ *Flags) { x.registers(reg, i, 0, false) }
	}
	if reg >= 4 {
		reg ^= 1
	}
	return func(x *X87, i uint8, _ *Flags) { x.registers(reg, i, i, pop) }
}

// formAB is FCMOVcc, negated in DB, and comparisons.
func formAB(negated bool, modrm byte) regForm {
	reg := modrm >> 3 & 7
	switch {
	case reg < 4:
		return func(x *X87, i uint8, flags *Flags) {
			condition := [...]bool{flags.CF, flags.ZF, flags.CF || flags.ZF, flags.PF}[reg]
			x.move(i, condition != negated)
		}
	case negated && (reg == 5 || reg == 6):
		return func(x *X87, i uint8, flags *Flags) { x.compareFlags(i, reg == 6, 0, flags) }
	case !negated && modrm == 0xE9: // FUCOMPP
		return func(x *X87, _ uint8, _ *Flags) { x.compareStack(1, false, 2) }
	}
	return nil
}

func formD(reg uint8) regForm {
	switch reg {
	case 0:
		return func(x *X87, i uint8, _ *Flags) {
			x.SW &^= swC1
			x.free(i)
		}
	case 1:
		return func(x *X87, i uint8, _ *Flags) { x.exchange(i) }
	case 2, 3:
		return func(x *X87, i uint8, _ *Flags) { x.storeStack(i, reg == 3) }
	case 4, 5:
		return func(x *X87, i uint8, _ *Flags) { x.compareStack(i, false, int(reg-4)) }
	}
	return nil
}

func formF(reg uint8) regForm {
	switch reg {
	case 0: // FFREEP
		return func(x *X87, i uint8, _ *Flags) {
			x.SW &^= swC1
			x.free(i)
			x.pop()
		}
	case 1:
		return func(x *X87, i uint8, _ *Flags) { x.exchange(i) }
	case 2, 3:
		return func(x *X87, i uint8, _ *Flags) { x.storeStack(i, true) }
	case 5, 6:
		return func(x *X87, i uint8, flags *Flags) { x.compareFlags(i, reg == 6, 1, flags) }
	}
	return nil
}

// form9 is D9.
func form9(modrm byte) regForm {
	switch modrm >> 3 & 7 {
	case 0:
		return func(x *X87, i uint8, _ *Flags) { x.loadStack(i) }
	case 1:
		return func(x *X87, i uint8, _ *Flags) { x.exchange(i) }
	case 2:
		if modrm == 0xD0 { // FNOP
			return func(*X87, uint8, *Flags) {}
		}
		return nil
	case 3: // FSTP1, which unlike FSTP does not mind an empty ST(0)
		return func(x *X87, i uint8, _ *Flags) {
			if x.empty(0) {
				x.SW &^= swC1
				x.pop()
				return
			}
			x.storeStack(i, true)
		}
	}
	f := forms9[modrm-0xE0]
	if f == nil {
		return nil
	}
	return func(x *X87, _ uint8, _ *Flags) { f(x) }
}

// forms9 is D9 E0 to D9 FF.
var forms9 = [32]func(*X87){
	0x00: func(x *X87) { x.signBit(func(se uint16) uint16 { return se ^ 1<<15 }) },      // FCHS
	0x01: func(x *X87) { x.signBit(func(se uint16) uint16 { return se &^ (1 << 15) }) }, // FABS
	0x04: func(x *X87) { x.compare(!x.empty(0), number{}, true) },                       // FTST
	0x05: (*X87).examine,
	0x08: func(x *X87) { x.loadConstant(constantOne) },
	0x09: func(x *X87) { x.loadConstant(log2Of10) },
	0x0A: func(x *X87) { x.loadConstant(log2OfE) },
	0x0B: func(x *X87) { x.loadConstant(pi) },
	0x0C: func(x *X87) { x.loadConstant(log10Of2) },
	0x0D: func(x *X87) { x.loadConstant(logOf2) },
	0x0E: func(x *X87) { x.loadConstant(wide{}) },
	0x10: func(x *X87) { x.unary(exp2m1) },
	0x11: (*X87).yLog2X,
	0x12: (*X87).tan,
	0x13: (*X87).atan,
	0x14: (*X87).extract,
	0x15: func(x *X87) { x.remainder(false) },                   // FPREM1
	0x16: func(x *X87) { x.setTop(x.top() - 1); x.SW &^= swC1 }, // FDECSTP
	0x17: func(x *X87) { x.setTop(x.top() + 1); x.SW &^= swC1 }, // FINCSTP
	0x18: func(x *X87) { x.remainder(true) },                    // FPREM
	0x19: (*X87).yLog2XPlus1,
	0x1A: (*X87).sqrt,
	0x1B: (*X87).sinCos,
	0x1C: func(x *X87) { x.unary(roundToInteger) },
	0x1D: (*X87).scale,
	0x1E: func(x *X87) { x.trigonometric(sine) },
	0x1F: func(x *X87) { x.trigonometric(cosine) },
}
