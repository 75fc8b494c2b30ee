package fp

func init() {
	type column struct {
		prefix  int
		suffix  string
		format  *format
		scalar  bool
		mem     uint8
		aligned bool
	}
	columns := []column{
		{prefixNone, "ps", single, false, 16, true},
		{prefix66, "pd", double, false, 16, true},
		{prefixF3, "ss", single, true, 4, false},
		{prefixF2, "sd", double, true, 8, false},
	}
	elements := []struct {
		opcode byte
		name   string
		fn     element
	}{
		{0x51, "sqrt", sqrtElement},
		{0x58, "add", addElement},
		{0x59, "mul", mulElement},
		{0x5C, "sub", subElement},
		{0x5D, "min", minElement},
		{0x5E, "div", divElement},
		{0x5F, "max", maxElement},
	}
	for _, c := range columns {
		add := func(opcode byte, name string, imm bool, fn Fn) {
			opTable[c.prefix][opcode] = &Op{Name: name + c.suffix, Mem: c.mem, Aligned: c.aligned, Imm: imm, Fn: fn}
		}
		for _, el := range elements {
			add(el.opcode, el.name, false, each(c.format, c.scalar, el.fn))
		}
		add(0xC2, "cmp", true, compareEach(c.format, c.scalar))
		if c.format == single {
			add(0x52, "rsqrt", false, estimates(c.scalar, reciprocalRoot))
			add(0x53, "rcp", false, estimates(c.scalar, reciprocal))
		}
	}
	for _, c := range []struct {
		prefix  int
		opcode  byte
		name    string
		mem     uint8
		aligned bool
		fn      Fn
	}{
		{prefixNone, 0x5A, "cvtps2pd", 8, false, cvtps2pd},
		{prefix66, 0x5A, "cvtpd2ps", 16, true, cvtpd2ps},
		{prefixF3, 0x5A, "cvtss2sd", 4, false, cvtss2sd},
		{prefixF2, 0x5A, "cvtsd2ss", 8, false, cvtsd2ss},
		{prefixNone, 0x5B, "cvtdq2ps", 16, true, cvtdq2ps},
		{prefix66, 0x5B, "cvtps2dq", 16, true, cvtps2dq},
		{prefixF3, 0x5B, "cvttps2dq", 16, true, cvttps2dq},
		{prefix66, 0xE6, "cvttpd2dq", 16, true, cvttpd2dq},
		{prefixF3, 0xE6, "cvtdq2pd", 8, false, cvtdq2pd},
		{prefixF2, 0xE6, "cvtpd2dq", 16, true, cvtpd2dq},
	} {
		opTable[c.prefix][c.opcode] = &Op{Name: c.name, Mem: c.mem, Aligned: c.aligned, Fn: c.fn}
	}
}
