package btf

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"
)

// section builds BTF of an integer, a union and a structure.
func section() []byte {
	names := "\x00int\x00task_struct\x00comm\x00pid\x00flag\x00"
	at := func(s string) uint32 { return uint32(strings.Index(names, "\x00"+s+"\x00") + 1) }
	var types []byte
	put := func(words ...uint32) {
		for _, w := range words {
			types = binary.LittleEndian.AppendUint32(types, w)
		}
	}
	put(at("int"), 1<<24, 4, 32)
	put(at("task_struct"), 5<<24|1, 4, at("pid"), 1, 8*99) // a union of that name
	put(0, 2<<24, 1)                                       // a pointer
	put(at("task_struct"), 1<<31|4<<24|3, 64, at("flag"), 1, 1<<24|33, at("pid"), 1, 8*16, at("comm"), 1, 8*32)
	var b []byte
	b = binary.LittleEndian.AppendUint16(b, magic)
	b = append(b, 1, 0)
	for _, w := range []uint32{headerSize, 0, uint32(len(types)), uint32(len(types)), uint32(len(names))} {
		b = binary.LittleEndian.AppendUint32(b, w)
	}
	return append(append(b, types...), names...)
}

func TestOffsets(t *testing.T) {
	got, err := Offsets(section(), "task_struct", "comm", "pid", "flag")
	if want := []uint64{32, 16, 4}; err != nil || !slices.Equal(got, want) {
		t.Errorf("offsets of comm, pid, flag = %v, %v, want %v", got, err, want)
	}
	cut := section()
	cut[12] -= 20 // the types' length
	for _, tt := range []struct {
		name, structure, member, want string
		section                       []byte
	}{
		{"nothing", "task_struct", "comm", "no header", nil},
		{"another structure", "mm_struct", "comm", "no structure mm_struct", section()},
		{"another member", "task_struct", "mm", "no member mm", section()},
		{"a type that is cut off", "task_struct", "comm", "cut off", cut},
		{"strings that are cut off", "task_struct", "comm", "outside of the section", section()[:60]},
	} {
		if _, err := Offsets(tt.section, tt.structure, tt.member); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want one with %q", tt.name, err, tt.want)
		}
	}
}

func FuzzOffsets(f *testing.F) {
	f.Add(section())
	f.Add([]byte{0x9f, 0xeb})
	f.Fuzz(func(_ *testing.T, b []byte) { Offsets(b, "task_struct", "comm", "pid") })
}
