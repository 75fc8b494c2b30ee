package lab

import (
	"crypto/sha256"
	"encoding/binary"
)

// earlySeed is that of all boots of VMs with one seed, until their drivers have
// found the agent's channel: so they have their beginning in common.
func earlySeed(run, vm uint64) uint64 { return bootSeed(run, vm, 0, 0) }

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
