package soft

//go:generate go run ./genfast

// opInfo is what is known of an op. The generator makes it of the function that
// says what the op does: see ops.go.
type opInfo struct {
	name   string
	kind   opKind
	form   opForm
	size   uint8 // of the operands in bytes; 0 is none
	sub    uint8 // which of the kind: aluADD and so on, or the number of the condition
	effect flagEffect
	reads  opFields
	writes opFields
	mem    memUse

	vectors bool // it uses vector registers
	ends    bool // it is the last of its block

	quiet opcode // the variant that sets no flags, or 0
	based opcode // the variant for addresses without an index, or 0
	full  opcode // of variants: what they are of
}

type (
	opKind uint8
	opForm uint8
)

// flagEffect is what an op does to the arithmetic flags.
type flagEffect uint8

const (
	effLeaves flagEffect = 1 << iota // it may leave the block, or raise an exception, before it does anything
	effSets                          // it sets all
	effReads                         // it reads some
	effEdge                          // it may branch when it is done
)

// opFields are fields of an op that name slots.
type opFields uint8

const (
	fieldDst opFields = 1 << iota
	fieldSrc
	fieldAddress // base and index
)

type memUse uint8

const (
	memLoads memUse = 1 << iota
	memStores
)

func (c opcode) String() string {
	if c < opCount {
		return opTable[c].name
	}
	return "unknown"
}

// liveBefore says whether somebody reads the flags before an op, given whether
// somebody does after it.
func (e flagEffect) liveBefore(after bool) bool {
	return e&(effLeaves|effReads) != 0 || after && e&effSets == 0
}

// opKey is what tells ops apart that are no variants.
type opKey struct {
	kind      opKind
	form      opForm
	size, sub uint8
}

var opIndex = func() map[opKey]opcode {
	index := make(map[opKey]opcode, opCount)
	for c, i := range opTable {
		if i.full == 0 {
			index[opKey{i.kind, i.form, i.size, i.sub}] = opcode(c)
		}
	}
	return index
}()

// opOf finds an opcode; 0 is none.
func opOf(kind opKind, form opForm, size, sub uint8) opcode {
	return opIndex[opKey{kind, form, size, sub}]
}
