// Package btf finds the members of a kernel's structures in its type
// information, section .BTF of a vmlinux (Linux Documentation/bpf/btf.rst).
package btf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

const (
	magic      = 0xeb9f
	headerSize = 24
	typeSize   = 12
	memberSize = 12
	kindStruct = 4
)

// trailing is the bytes that follow a type, by kind: fixed, and per element.
var trailing = [...]struct{ fixed, each int }{
	1: {4, 0}, 3: {12, 0}, 4: {0, memberSize}, 5: {0, memberSize}, 6: {0, 8},
	13: {0, 8}, 14: {4, 0}, 15: {0, 12}, 17: {4, 0}, 19: {0, 12},
}

// Offsets gives the members of a structure, in bytes from its start.
func Offsets(section []byte, structure string, members ...string) ([]uint64, error) {
	types, names, err := parts(section)
	if err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	for len(types) >= typeSize {
		name, info := le.Uint32(types), le.Uint32(types[4:])
		kind, n := int(info>>24&31), int(info&0xffff)
		size := typeSize
		if kind < len(trailing) {
			size += trailing[kind].fixed + n*trailing[kind].each
		}
		if size > len(types) {
			return nil, errors.New("BTF: a type is cut off")
		}
		if kind == kindStruct && text(names, name) == structure {
			return offsets(types[typeSize:size], names, structure, info>>31 != 0, members)
		}
		types = types[size:]
	}
	return nil, fmt.Errorf("BTF: no structure %s", structure)
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

// offsets looks members up by name. Bit fields have their size in the upper
// bits of the offset.
func offsets(list, names []byte, structure string, bitFields bool, members []string) ([]uint64, error) {
	le := binary.LittleEndian
	found := make([]uint64, len(members))
	for i, want := range members {
		ok := false
		for m := list; len(m) >= memberSize && !ok; m = m[memberSize:] {
			if text(names, le.Uint32(m)) == want {
				bits := le.Uint32(m[8:])
				if bitFields {
					bits &= 0xffffff
				}
				found[i], ok = uint64(bits/8), true
			}
		}
		if !ok {
			return nil, fmt.Errorf("BTF: structure %s has no member %s", structure, want)
		}
	}
	return found, nil
}
