package fake

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"strings"
)

// ELF describes a small x86-64 ELF file.
type ELF struct {
	Type     elf.Type
	Machine  elf.Machine // 0 is x86-64
	Interp   string
	Needed   []string
	Sections map[string][]byte
	Load     []byte // content of a PT_LOAD segment
	Tail     []byte // at the end of the file, in no segment
}

// Bytes lays the file out: header, program headers, contents, tail, section
// headers.
func (e ELF) Bytes() []byte {
	type section struct {
		elf.Section64
		name string
		data []byte
	}
	sections := []section{{}}
	add := func(name string, kind elf.SectionType, link uint32, entsize uint64, data []byte) {
		sections = append(sections, section{elf.Section64{Type: uint32(kind), Link: link, Entsize: entsize, Addralign: 1}, name, data})
	}
	if len(e.Needed) > 0 {
		names := []byte{0}
		var dyn []byte
		for _, n := range e.Needed {
			dyn = binary.LittleEndian.AppendUint64(dyn, uint64(elf.DT_NEEDED))
			dyn = binary.LittleEndian.AppendUint64(dyn, uint64(len(names)))
			names = append(append(names, n...), 0)
		}
		dyn = append(dyn, make([]byte, 16)...)
		add(".dynstr", elf.SHT_STRTAB, 0, 0, names)
		add(".dynamic", elf.SHT_DYNAMIC, 1, 16, dyn)
	}
	for name, data := range e.Sections {
		add(name, elf.SHT_PROGBITS, 0, 0, data)
	}
	names := []byte{0}
	for i := range sections[1:] {
		s := &sections[i+1]
		s.Name = uint32(len(names))
		names = append(append(names, s.name...), 0)
	}
	shstr := uint32(len(names))
	names = append(names, ".shstrtab\x00"...)
	add(".shstrtab", elf.SHT_STRTAB, 0, 0, names)
	sections[len(sections)-1].Name = shstr

	var progs []elf.Prog64
	if e.Load != nil {
		progs = append(progs, elf.Prog64{Type: uint32(elf.PT_LOAD), Flags: 5})
	}
	if e.Interp != "" {
		progs = append(progs, elf.Prog64{Type: uint32(elf.PT_INTERP)})
	}
	body := make([]byte, 64+56*len(progs))
	place := func(data []byte) uint64 { at := uint64(len(body)); body = append(body, data...); return at }
	for i := range progs {
		data := e.Load
		if progs[i].Type == uint32(elf.PT_INTERP) {
			data = append([]byte(e.Interp), 0)
		}
		progs[i].Off, progs[i].Filesz, progs[i].Memsz = place(data), uint64(len(data)), uint64(len(data))
	}
	for i := range sections[1:] {
		s := &sections[i+1]
		s.Off, s.Size = place(s.data), uint64(len(s.data))
	}
	place(e.Tail)
	machine := e.Machine
	if machine == 0 {
		machine = elf.EM_X86_64
	}
	h := elf.Header64{
		Type: uint16(e.Type), Machine: uint16(machine), Version: 1, Phoff: 64, Shoff: uint64(len(body)),
		Ehsize: 64, Phentsize: 56, Phnum: uint16(len(progs)), Shentsize: 64, Shnum: uint16(len(sections)), Shstrndx: uint16(len(sections) - 1),
	}
	copy(h.Ident[:], elf.ELFMAG)
	h.Ident[elf.EI_CLASS], h.Ident[elf.EI_DATA], h.Ident[elf.EI_VERSION] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), 1
	var head bytes.Buffer
	must(binary.Write(&head, binary.LittleEndian, h))
	must(binary.Write(&head, binary.LittleEndian, progs))
	copy(body, head.Bytes())
	var tail bytes.Buffer
	for _, s := range sections {
		must(binary.Write(&tail, binary.LittleEndian, s.Section64))
	}
	return append(body, tail.Bytes()...)
}

// Program is a dynamic program that needs libraries.
func Program(needed ...string) []byte {
	return ELF{Type: elf.ET_DYN, Interp: "/lib64/ld-linux-x86-64.so.2", Needed: needed, Load: []byte("code")}.Bytes()
}

// Library is a shared library.
func Library(needed ...string) []byte {
	return ELF{Type: elf.ET_DYN, Needed: needed, Load: []byte("code")}.Bytes()
}

// Module is a kernel module with .modinfo entries KEY=VALUE.
func Module(release string, entries ...string) []byte {
	entries = append(entries, "vermagic="+release+" SMP mod_unload ")
	return ELF{Type: elf.ET_REL, Sections: map[string][]byte{".modinfo": []byte(strings.Join(entries, "\x00") + "\x00")}}.Bytes()
}

// Busybox is a static program with a table of applets.
func Busybox(applets ...string) []byte {
	table := "\x00[\x00[[\x00" + strings.Join(applets, "\x00") + "\x00\x00more\x00direct\x00"
	return ELF{Type: elf.ET_EXEC, Load: []byte(table)}.Bytes()
}

// Kernel is a bzImage that has nothing but its version.
func Kernel(banner string) []byte {
	b := make([]byte, 0x400)
	copy(b[0x202:], "HdrS")
	binary.LittleEndian.PutUint16(b[0x20e:], 0x300-0x200)
	return append(append(b[:0x300], banner...), make([]byte, 0x200)...)
}
