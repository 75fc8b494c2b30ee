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
		quick  [2]quickElement // single, double
	}{
		{0x51, "sqrt", sqrtElement, [2]quickElement{quickSqrt32, quickSqrt64}},
		{0x58, "add", addElement, [2]quickElement{quickAdd32, quickAdd64}},
		{0x59, "mul", mulElement, [2]quickElement{quickMul32, quickMul64}},
		{0x5C, "sub", subElement, [2]quickElement{quickSub32, quickSub64}},
		{0x5D, "min", minElement, [2]quickElement{quickMin32, quickMin64}},
		{0x5E, "div", divElement, [2]quickElement{quickDiv32, quickDiv64}},
		{0x5F, "max", maxElement, [2]quickElement{quickMax32, quickMax64}},
	}
	for _, c := range columns {
		add := func(opcode byte, name string, imm bool, fn Fn) {
			opTable[c.prefix][opcode] = &Op{Name: name + c.suffix, Mem: c.mem, Aligned: c.aligned, Imm: imm, Fn: fn}
		}
		for _, el := range elements {
			q := el.quick[1]
			if c.format == single {
				q = el.quick[0]
			}
			add(el.opcode, el.name, false, each(c.format, c.scalar, el.fn, q))
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
