package ir

import "nvlab/vmm/observe"

// OpInfo is what is known of an op. The generator makes it of the function that
// says what the op does: see ops.go in package soft.
type OpInfo struct {
	Name   string
	Kind   Kind
	Form   Form
	Size   uint8 // of the operands in bytes; 0 is none
	Sub    uint8 // which of the kind: x86.AluADD and so on, or the number of the condition
	Effect FlagEffect
	Reads  Fields
	Writes Fields
	Mem    MemUse

	Vectors bool // it uses vector registers
	Ends    bool // it is the last of its block

	Quiet Opcode // the variant that sets no flags, or 0
	Based Opcode // the variant for addresses without an index, or 0
	Full  Opcode // of variants: what they are of
}

type (
	Kind uint8 // what the op does; which of several, OpInfo.Sub says
	Form uint8 // where its operands are
)

// FlagEffect is what an op does to the arithmetic flags.
type FlagEffect uint8

const (
	EffLeaves FlagEffect = 1 << iota // it may leave the block, or raise an exception, before it does anything
	EffSets                          // it sets all
	EffReads                         // it reads some
	EffEdge                          // it may branch when it is done
)

// Fields are fields of an op that name slots.
type Fields uint8

const (
	FieldDst Fields = 1 << iota
	FieldSrc
	FieldAddress // base and index
)

// MemUse is what an op does with memory.
type MemUse uint8

const (
	MemLoads MemUse = 1 << iota
	MemStores
)

// String returns the name in the table, without "Op".
func (c Opcode) String() string {
	if c < OpCount {
		return OpTable[c].Name
	}
	return "unknown"
}

// liveBefore says whether somebody reads the flags before an op, given whether
// somebody does after it.
func (e FlagEffect) liveBefore(after bool) bool {
	return e&(EffLeaves|EffReads) != 0 || after && e&EffSets == 0
}

// PlainStore says whether an op stores and does nothing else. The engine asks at
// each store that it tells of.
func PlainStore(c Opcode) bool { return plainStores[c] }

var plainStores = func() (is [len(OpTable)]bool) {
	for c := range OpTable {
		switch x := &OpTable[c]; x.Kind {
		case KindMov, KindCopyVector, KindCopyAligned, KindMovd, KindMovh:
			is[c] = x.Mem == MemStores
		}
	}
	return is
}()

// Streams says that an op is a non-temporal store of 8 bytes.
func Streams(o *Op) bool {
	return (o.Code == OpMOVMR64 || o.Code == OpMOVMR64B) && o.Sel == uint8(observe.NonTemporal)
}

// opKey is what tells ops apart that are no variants.
type opKey struct {
	kind      Kind
	form      Form
	size, sub uint8
}

var opIndex = func() map[opKey]Opcode {
	index := make(map[opKey]Opcode, OpCount)
	for c, i := range OpTable {
		if i.Full == 0 {
			index[opKey{i.Kind, i.Form, i.Size, i.Sub}] = Opcode(c)
		}
	}
	return index
}()

// OpOf finds an opcode; 0 is none.
func OpOf(kind Kind, form Form, size, sub uint8) Opcode {
	return opIndex[opKey{kind, form, size, sub}]
}
