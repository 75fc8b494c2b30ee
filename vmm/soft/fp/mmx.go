package fp

func init() {
	for _, p := range lanewise {
		mmxTable[p.opcode] = &MMXOp{Name: p.name, Mem: 8, Fn: onWord(p.fn)}
	}
	for _, p := range packs {
		mmxTable[p.opcode] = &MMXOp{Name: p.name, Mem: 8, Fn: onWord(p.fn)}
	}
	for _, u := range unpacks {
		op := &MMXOp{Name: u.name, Mem: 4}
		op.Fn = func(dst, src *uint64, _ uint8) { *dst = interleave(*dst, *src, u.width) }
		if u.high {
			op.Mem = 8
			op.Fn = func(dst, src *uint64, _ uint8) { *dst = interleave(*dst>>32, *src>>32, u.width) }
		}
		mmxTable[u.opcode] = op
	}
	for _, s := range shifts {
		mmxTable[s.opcode] = &MMXOp{Name: s.name, Mem: 8, Fn: onWord(s.fn)}
		mmxGroupTable[s.group-0x71][s.reg] = &MMXOp{Name: s.name, Imm: true,
			Fn: func(dst, _ *uint64, imm uint8) { *dst = s.fn(*dst, uint64(imm)) }}
	}
	mmxTable[0x70] = &MMXOp{Name: "pshufw", Mem: 8, Imm: true,
		Fn: func(dst, src *uint64, imm uint8) { *dst = shuffleWords(*src, imm) }}
}

func onWord(f func(a, b uint64) uint64) MMXFn {
	return func(dst, src *uint64, _ uint8) { *dst = f(*dst, *src) }
}
