package introspect

import "encoding/binary"

// Bits of an entry of a page table (SDM 3A, 4.5.4).
const (
	present = 1
	large   = 1 << 7
	frame   = 0x000f_ffff_ffff_f000
)

// Translate finds the physical address of a virtual one in the page tables of
// four levels at root, a value of CR3. ok is false if nothing is mapped there.
func Translate(mem Memory, root, addr uint64) (physical uint64, ok bool) {
	return translate(words(mem), root, addr)
}

// TranslateKernel is Translate for an address of the kernel's. While a program runs,
// its own page tables may lack most of the kernel's: those for the kernel are 4
// KiB below (Linux Documentation/x86/pti.rst).
func TranslateKernel(mem Memory, root, addr uint64) (physical uint64, ok bool) {
	return translateKernel(words(mem), root, addr)
}

// words reads memory by words.
func words(mem Memory) func(physical uint64) (uint64, bool) {
	return func(at uint64) (uint64, bool) {
		var b [8]byte
		n, err := mem.ReadAt(b[:], int64(at))
		return binary.LittleEndian.Uint64(b[:]), err == nil && n == len(b)
	}
}

func translateKernel(word func(physical uint64) (uint64, bool), root, addr uint64) (uint64, bool) {
	if at, ok := translate(word, root, addr); ok {
		return at, true
	}
	return translate(word, root&^0x1000, addr)
}

// translate gets the tables' entries from word.
func translate(word func(physical uint64) (uint64, bool), root, addr uint64) (uint64, bool) {
	table := root & frame
	for shift := 39; ; shift -= 9 {
		entry, ok := word(table + addr>>shift&511*8)
		if !ok || entry&present == 0 {
			return 0, false
		}
		if size := uint64(1) << shift; shift == 12 || shift < 39 && entry&large != 0 {
			return entry&frame&^(size-1) | addr&(size-1), true
		}
		table = entry & frame
	}
}
