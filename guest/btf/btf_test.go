package btf

import (
	"encoding/binary"
	"strings"
	"testing"
)

// section builds BTF of an integer, a union and structures, one with another
// in it and one without a name.
func section() []byte {
	names := "\x00int\x00task_struct\x00comm\x00pid\x00flag\x00within\x00low\x00high\x00"
	at := func(s string) uint32 { return uint32(strings.Index(names, "\x00"+s+"\x00") + 1) }
	var types []byte
	put := func(words ...uint32) {
		for _, w := range words {
			types = binary.LittleEndian.AppendUint32(types, w)
		}
	}
	put(at("int"), 1<<24, 4, 32)                             // 1
	put(at("task_struct"), 5<<24|1, 4, at("pid"), 1, 8*99)   // 2: a union of that name
	put(0, 2<<24, 1)                                         // 3: a pointer
	put(0, 4<<24|2, 16, at("low"), 1, 0, at("high"), 1, 8*8) // 4
	put(0, 10<<24, 4)                                        // 5: const of it
	put(0, 5<<24|1, 16, 0, 5, 0)                             // 6: a union of that alone
	put(at("task_struct"), 1<<31|4<<24|5, 96, at("flag"), 1, 1<<24|33, at("pid"), 1, 8*16, at("comm"), 1, 8*32,
		at("within"), 5, 8*48, 0, 6, 8*64)
	var b []byte
	b = binary.LittleEndian.AppendUint16(b, magic)
	b = append(b, 1, 0)
	for _, w := range []uint32{headerSize, 0, uint32(len(types)), uint32(len(types)), uint32(len(names))} {
		b = binary.LittleEndian.AppendUint32(b, w)
	}
	return append(append(b, types...), names...)
}

func offset(section []byte, structure, path string) (uint64, error) {
	types, err := Read(section)
	if err != nil {
		return 0, err
	}
	return types.Offset(structure, path)
}

func TestOffset(t *testing.T) {
	for path, want := range map[string]uint64{"comm": 32, "pid": 16, "flag": 4, "within": 48, "within.high": 56, "low": 64, "high": 72} {
		if got, err := offset(section(), "task_struct", path); err != nil || got != want {
			t.Errorf("offset of %s = %d, %v, want %d", path, got, err, want)
		}
	}
	cut := section()
	cut[12] -= 20 // the types' length
	for _, tt := range []struct {
		name, structure, path, want string
		section                     []byte
	}{
		{"nothing", "task_struct", "comm", "no header", nil},
		{"another structure", "mm_struct", "comm", "no structure mm_struct", section()},
		{"another member", "task_struct", "mm", "no member mm", section()},
		{"a member of an integer", "task_struct", "pid.low", "no member pid.low", section()},
		{"a type that is cut off", "task_struct", "comm", "cut off", cut},
		{"strings that are cut off", "task_struct", "comm", "outside of the section", section()[:60]},
	} {
		if _, err := offset(tt.section, tt.structure, tt.path); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want one with %q", tt.name, err, tt.want)
		}
	}
}

func FuzzOffset(f *testing.F) {
	f.Add(section(), "within.high")
	f.Add([]byte{0x9f, 0xeb}, "comm")
	f.Fuzz(func(_ *testing.T, b []byte, path string) { offset(b, "task_struct", path) })
}
