// Package btf finds the members of a kernel's structures in its type
// information, section .BTF of a vmlinux (Linux Documentation/bpf/btf.rst).
package btf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

const (
	magic      = 0xeb9f
	headerSize = 24
	typeSize   = 12
	memberSize = 12

	kindStruct   = 4
	kindUnion    = 5
	kindTypedef  = 8
	kindVolatile = 9
	kindConst    = 10
)

// trailing is the bytes that follow a type, by kind: fixed, and per element.
var trailing = [...]struct{ fixed, each int }{
	1: {4, 0}, 3: {12, 0}, kindStruct: {0, memberSize}, kindUnion: {0, memberSize}, 6: {0, 8},
	13: {0, 8}, 14: {4, 0}, 15: {0, 12}, 17: {4, 0}, 19: {0, 12},
}

// Types is a kernel's type information.
type Types struct {
	types, names []byte
	at           []uint32 // of each type, by number less 1: where it is in types
}

// Read finds where the types of a section are.
func Read(section []byte) (*Types, error) {
	types, names, err := parts(section)
	if err != nil {
		return nil, err
	}
	t := &Types{types: types, names: names}
	for at := 0; len(types)-at >= typeSize; {
		_, kind, n := header(types[at:])
		size := typeSize
		if kind < len(trailing) {
			size += trailing[kind].fixed + n*trailing[kind].each
		}
		if size > len(types)-at {
			return nil, errors.New("BTF: a type is cut off")
		}
		t.at = append(t.at, uint32(at))
		at += size
	}
	return t, nil
}

// header is a type's name, kind and number of elements.
func header(t []byte) (name uint32, kind, n int) {
	info := binary.LittleEndian.Uint32(t[4:])
	return binary.LittleEndian.Uint32(t), int(info >> 24 & 31), int(info & 0xffff)
}

// parts are the types and the strings of a section.
func parts(b []byte) (types, names []byte, err error) {
	le := binary.LittleEndian
	if len(b) < headerSize || le.Uint16(b) != magic {
		return nil, nil, errors.New("BTF: no header")
	}
	header := uint64(le.Uint32(b[4:]))
	part := func(at int) []byte {
		start := header + uint64(le.Uint32(b[at:]))
		end := start + uint64(le.Uint32(b[at+4:]))
		if end > uint64(len(b)) {
			err = errors.New("BTF: a part lies outside of the section")
			return nil
		}
		return b[start:end]
	}
	return part(8), part(16), err
}

func text(names []byte, at uint32) string {
	if uint64(at) >= uint64(len(names)) {
		return ""
	}
	name, _, _ := bytes.Cut(names[at:], []byte{0})
	return string(name)
}

// Offset is where a member of a structure is, in bytes from its start. One
// within a structure that is a member of it is named as in C: f_path.dentry.
func (t *Types) Offset(structure, path string) (uint64, error) {
	id := 0
	for i, at := range t.at {
		if name, kind, _ := header(t.types[at:]); kind == kindStruct && text(t.names, name) == structure {
			id = i + 1
			break
		}
	}
	if id == 0 {
		return 0, fmt.Errorf("BTF: no structure %s", structure)
	}
	offset := uint64(0)
	for name := range strings.SplitSeq(path, ".") {
		at, of, ok := t.member(id, name, maxNested)
		if !ok {
			return 0, fmt.Errorf("BTF: structure %s has no member %s", structure, path)
		}
		offset += at
		id = of
	}
	return offset, nil
}

// maxNested bounds structures within each other, and names for types.
const maxNested = 16

// member looks for a member of a type, also in its members without a name, and
// gives where it is and its type.
func (t *Types) member(id int, name string, depth int) (offset uint64, of int, ok bool) {
	if id < 1 || id > len(t.at) || depth == 0 {
		return 0, 0, false
	}
	le := binary.LittleEndian
	all := t.types[t.at[id-1]:]
	_, kind, n := header(all)
	switch kind {
	case kindTypedef, kindVolatile, kindConst:
		return t.member(int(le.Uint32(all[8:])), name, depth-1)
	case kindStruct, kindUnion:
	default:
		return 0, 0, false
	}
	bitFields := le.Uint32(all[4:])>>31 != 0 // they have their size in the upper bits of the offset
	for m := all[typeSize:][:n*memberSize]; len(m) > 0; m = m[memberSize:] {
		bits := le.Uint32(m[8:])
		if bitFields {
			bits &= 0xffffff
		}
		own, of := text(t.names, le.Uint32(m)), int(le.Uint32(m[4:]))
		if own == name {
			return uint64(bits / 8), of, true
		}
		if own == "" {
			if within, of, ok := t.member(of, name, depth-1); ok {
				return uint64(bits/8) + within, of, true
			}
		}
	}
	return 0, 0, false
}
