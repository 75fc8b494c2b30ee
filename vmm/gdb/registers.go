package gdb

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"

	"nvlab/vmm"
)

// A register is one of those that gdb knows by number: its place in the list.
type register struct {
	name  string
	bits  int
	kind  string // gdb's type
	group string // "" is what gdb takes from the kind
	// at is where a processor's is, little-endian: a pointer to an integer or to
	// bytes. An integer may be wider or narrower than the register.
	at  func(*vmm.Registers) any
	set bool // gdb may set it
}

// A feature is a group of registers that gdb knows by name (GDB manual, "x86
// Features"), or one of ours.
type feature struct {
	name      string
	types     string // of its registers, in the form of a target description
	registers []register
}

func general(name string, n int) register {
	return register{name, 64, "int64", "", func(r *vmm.Registers) any { return &r.R[n] }, true}
}

func pointer(name string, n int) register {
	r := general(name, n)
	r.kind = "data_ptr"
	return r
}

func selector(name string, n int) register {
	return register{name, 32, "int32", "", func(r *vmm.Registers) any { return &r.Segment[n] }, false}
}

func base(name string, at func(*vmm.Registers) any) register {
	return register{name, 64, "int64", "", at, true}
}

func system(name string, at func(*vmm.Registers) any) register {
	return register{name, 64, "int64", "system", at, false}
}

func x87(name string, at func(*vmm.Registers) any) register {
	return register{name, 32, "int", "float", at, false}
}

// features are what gdb is told of, in the order of its own description of
// amd64.
var features = []feature{
	{"org.gnu.gdb.i386.core", `<flags id="eflags" size="4">` +
		`<field name="CF" start="0" end="0"/><field name="PF" start="2" end="2"/><field name="AF" start="4" end="4"/>` +
		`<field name="ZF" start="6" end="6"/><field name="SF" start="7" end="7"/><field name="TF" start="8" end="8"/>` +
		`<field name="IF" start="9" end="9"/><field name="DF" start="10" end="10"/><field name="OF" start="11" end="11"/>` +
		`<field name="NT" start="14" end="14"/><field name="RF" start="16" end="16"/><field name="AC" start="18" end="18"/>` +
		`<field name="ID" start="21" end="21"/></flags>`, core()},
	{"org.gnu.gdb.i386.sse", `<vector id="v4f" type="ieee_single" count="4"/><vector id="v2d" type="ieee_double" count="2"/>` +
		`<vector id="v16i8" type="int8" count="16"/><vector id="v8i16" type="int16" count="8"/>` +
		`<vector id="v4i32" type="int32" count="4"/><vector id="v2i64" type="int64" count="2"/>` +
		`<union id="vec128"><field name="v4_float" type="v4f"/><field name="v2_double" type="v2d"/>` +
		`<field name="v16_int8" type="v16i8"/><field name="v8_int16" type="v8i16"/><field name="v4_int32" type="v4i32"/>` +
		`<field name="v2_int64" type="v2i64"/><field name="uint128" type="uint128"/></union>`, sse()},
	// Without a feature of this name gdb does not ask for libraries.
	{"org.gnu.gdb.i386.linux", "", []register{
		{"orig_rax", 64, "int", "", func(*vmm.Registers) any { return new(uint64) }, false},
	}},
	{"org.gnu.gdb.i386.segments", "", []register{
		base("fs_base", func(r *vmm.Registers) any { return &r.FSBase }),
		base("gs_base", func(r *vmm.Registers) any { return &r.GSBase }),
	}},
	{"nvlab.system", "", []register{
		system("k_gs_base", func(r *vmm.Registers) any { return &r.KernelGSBase }),
		system("cr0", func(r *vmm.Registers) any { return &r.CR0 }),
		system("cr2", func(r *vmm.Registers) any { return &r.CR2 }),
		system("cr3", func(r *vmm.Registers) any { return &r.CR3 }),
		system("cr4", func(r *vmm.Registers) any { return &r.CR4 }),
		system("efer", func(r *vmm.Registers) any { return &r.EFER }),
	}},
}

func core() []register {
	list := []register{
		general("rax", 0), general("rbx", 3), general("rcx", 1), general("rdx", 2),
		general("rsi", 6), general("rdi", 7), pointer("rbp", 5), pointer("rsp", 4),
	}
	for n := 8; n < 16; n++ {
		list = append(list, general(fmt.Sprintf("r%d", n), n))
	}
	list = append(list,
		register{"rip", 64, "code_ptr", "", func(r *vmm.Registers) any { return &r.RIP }, true},
		register{"eflags", 32, "eflags", "", func(r *vmm.Registers) any { return &r.RFLAGS }, true},
		selector("cs", 1), selector("ss", 2), selector("ds", 3), selector("es", 0), selector("fs", 4), selector("gs", 5),
	)
	for n := range 8 {
		list = append(list, register{fmt.Sprintf("st%d", n), 80, "i387_ext", "", func(r *vmm.Registers) any { return r.X87.ST[n][:] }, false})
	}
	return append(list,
		x87("fctrl", func(r *vmm.Registers) any { return &r.X87.CW }),
		x87("fstat", func(r *vmm.Registers) any { return &r.X87.SW }),
		x87("ftag", func(r *vmm.Registers) any { return &r.X87.Tag }),
		x87("fiseg", func(r *vmm.Registers) any { return &r.X87.FCS }),
		x87("fioff", func(r *vmm.Registers) any { return &r.X87.FIP }),
		x87("foseg", func(r *vmm.Registers) any { return &r.X87.FDS }),
		x87("fooff", func(r *vmm.Registers) any { return &r.X87.FDP }),
		x87("fop", func(r *vmm.Registers) any { return &r.X87.FOP }),
	)
}

func sse() (list []register) {
	for n := range 16 {
		list = append(list, register{fmt.Sprintf("xmm%d", n), 128, "vec128", "", func(r *vmm.Registers) any { return r.XMM[n][:] }, false})
	}
	return append(list, register{"mxcsr", 32, "int", "vector", func(r *vmm.Registers) any { return &r.MXCSR }, false})
}

// registers are all of them, by number.
var registers = func() (list []register) {
	for _, f := range features {
		list = append(list, f.registers...)
	}
	return list
}()

// description is the target description (GDB manual, "Target Descriptions").
func description() string {
	var b strings.Builder
	b.WriteString("<?xml version=\"1.0\"?>\n<!DOCTYPE target SYSTEM \"gdb-target.dtd\">\n<target><architecture>i386:x86-64</architecture><osabi>GNU/Linux</osabi>\n")
	for _, f := range features {
		fmt.Fprintf(&b, "<feature name=%q>%s\n", f.name, f.types)
		for _, r := range f.registers {
			group := ""
			if r.group != "" {
				group = fmt.Sprintf(" group=%q", r.group)
			}
			fmt.Fprintf(&b, "<reg name=%q bitsize=\"%d\" type=%q%s/>\n", r.name, r.bits, r.kind, group)
		}
		b.WriteString("</feature>\n")
	}
	b.WriteString("</target>\n")
	return b.String()
}

// get is the register's bytes, as gdb wants them.
func (r *register) get(from *vmm.Registers) []byte {
	var v uint64
	switch at := r.at(from).(type) {
	case []byte:
		return at
	case *uint64:
		v = *at
	case *uint32:
		v = uint64(*at)
	case *uint16:
		v = uint64(*at)
	}
	b := make([]byte, 8)
	binary.LittleEndian.PutUint64(b, v)
	return b[:r.bits/8]
}

// put sets the register, if gdb may set it to anything else than it is.
func (r *register) put(to *vmm.Registers, b []byte) error {
	if string(b) == string(r.get(to)) {
		return nil
	}
	at, ok := r.at(to).(*uint64)
	if !ok || !r.set {
		return fmt.Errorf("register %s cannot be set", r.name)
	}
	var v [8]byte
	copy(v[:], b)
	*at = binary.LittleEndian.Uint64(v[:])
	return nil
}

// getAll is what packet g answers: all registers' bytes, as text.
func getAll(from *vmm.Registers) string {
	var b strings.Builder
	for i := range registers {
		b.WriteString(hex.EncodeToString(registers[i].get(from)))
	}
	return b.String()
}

// putAll sets all registers as packet G says. Fewer may be given.
func putAll(to *vmm.Registers, text string) error {
	b, err := hex.DecodeString(text)
	if err != nil {
		return err
	}
	for i := range registers {
		r := &registers[i]
		n := r.bits / 8
		if len(b) < n {
			break
		}
		if err := r.put(to, b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}
