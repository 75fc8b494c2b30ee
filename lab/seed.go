package lab

import (
	"crypto/sha256"
	"encoding/binary"
)

// bootSeed derives the seed of one boot, so that two boots differ and two runs
// do not.
func bootSeed(run, vm uint64, number, boot int) uint64 {
	var b []byte
	for _, v := range []uint64{run, vm, uint64(number), uint64(boot)} {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	sum := sha256.Sum256(b)
	return binary.LittleEndian.Uint64(sum[:])
}
