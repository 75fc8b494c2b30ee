package lab

import "fmt"

// What a guest needs besides its kernel and its initramfs while it comes up,
// in bytes: page tables, slabs, the agent. Measured with Debian's 6.1: 96 MiB of
// RAM do, with a kernel of 46 and an initramfs of 13, and 80 do not.
const bootReserve = 24 << 20

// memoryStep is what suggestions are multiples of, in bytes.
const memoryStep = 16 << 20

// fits reports whether a guest can come up in so much RAM. Linux keeps 64
// bytes for each page of 4 KiB (struct page). The initramfs lies in memory
// twice while it is unpacked, and what is unpacked may take half of what was
// free before (Linux, mm/shmem.c, shmem_default_max_blocks).
func fits(memory, kernel, initrd uint64) bool {
	free := int64(memory - memory/64 - kernel)
	return free >= int64(3*initrd) && free >= int64(2*initrd+bootReserve)
}

// enough is the least memory, in whole steps, in which a guest comes up.
func enough(kernel, initrd uint64) uint64 {
	m := uint64(memoryStep)
	for !fits(m, kernel, initrd) {
		m += memoryStep
	}
	return m
}

// checkFit refuses a guest that would panic for want of memory, and says what
// would do.
func (v *VM) checkFit(i *image) error {
	kernel, size := i.kernel.MemorySize(), uint64(i.initrd.Size())
	if fits(v.opts.Memory, kernel, size) {
		return nil
	}
	return fmt.Errorf("memory=%d MiB is too little for guest %s: its kernel takes %d MiB, its initramfs of %d MiB lies in memory twice while it is unpacked, and it needs %d MiB to come up; memory=\"%dMiB\" is enough",
		v.opts.Memory>>20, i.Name, kernel>>20, size>>20, bootReserve>>20, enough(kernel, size)>>20)
}
