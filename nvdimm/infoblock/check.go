package infoblock

import "fmt"

// Check says why the structures of an arena cannot lie within the size bytes
// from its start on, each after the one before.
func (b *BTT) Check(size uint64) error {
	data := uint64(b.InternalNLBA) * uint64(b.InternalLBASize)
	table := uint64(b.ExternalNLBA) * 4
	log := uint64(b.NFree) * 64
	switch {
	case b.ExternalLBASize == 0 || b.InternalLBASize < b.ExternalLBASize:
		return fmt.Errorf("its blocks have %d bytes, its sectors %d", b.InternalLBASize, b.ExternalLBASize)
	case b.NFree == 0:
		return fmt.Errorf("it has no free blocks")
	case uint64(b.InternalNLBA) != uint64(b.ExternalNLBA)+uint64(b.NFree):
		return fmt.Errorf("it has %d blocks, which are not its %d sectors and %d free blocks", b.InternalNLBA, b.ExternalNLBA, b.NFree)
	case !fits(Size, 0, b.DataOff, size), !fits(b.DataOff, data, b.MapOff, size), !fits(b.MapOff, table, b.LogOff, size), !fits(b.LogOff, log, b.Info2Off, size), !fits(b.Info2Off, Size, size, size):
		return fmt.Errorf("its data at %#x, map at %#x, log at %#x and info copy at %#x do not fit into %#x bytes one after the other", b.DataOff, b.MapOff, b.LogOff, b.Info2Off, size)
	case b.NextOff != 0 && (b.NextOff < b.Info2Off || b.NextOff-b.Info2Off < Size || b.NextOff > size):
		return fmt.Errorf("the next arena, %#x bytes on, is not behind it within %#x bytes", b.NextOff, size)
	}
	return nil
}

// fits says that n bytes from start on end at the latest where the next
// structure begins, within size.
func fits(start, n, next, size uint64) bool {
	return next <= size && start <= next && n <= next-start
}

// Check says why Linux takes no namespace of size bytes at a guest-physical
// address for what the block says (drivers/nvdimm/pfn_devs.c,
// nd_pfn_validate).
func (p *PFN) Check(addr, size uint64) error {
	align := uint64(p.Align)
	if p.Minor < 2 {
		align = 0
	}
	pad, trunc := uint64(p.StartPad), uint64(p.EndTrunc)
	if p.Minor < 1 {
		pad, trunc = 0, 0
	}
	switch {
	case p.Mode != 1 && p.Mode != 2:
		return fmt.Errorf("mode is %d: want 1, page structures in RAM, or 2, in the namespace", p.Mode)
	case align&(align-1) != 0:
		return fmt.Errorf("align is %#x, no power of two", align)
	case align > size:
		return fmt.Errorf("align %#x is more than the namespace's %#x bytes", align, size)
	case p.DataOff >= size || pad+trunc >= size-p.DataOff:
		return fmt.Errorf("data at %#x, with %#x and %#x bytes left out at both ends, are not within %#x bytes", p.DataOff, pad, trunc, size)
	case p.DataOff%4096 != 0 || align != 0 && (addr+p.DataOff+pad)%align != 0:
		return fmt.Errorf("data at %#x of a namespace at %#x, with %#x bytes left out, are not aligned to %#x", p.DataOff, addr, pad, max(align, 4096))
	case p.Mode == 2 && p.Minor >= 4 && p.PageStructSize != 0 && p.NPFNs > (p.DataOff-min(p.DataOff, infoOffset+Size))/uint64(p.PageStructSize):
		return fmt.Errorf("%d page structures of %d bytes do not fit before the data at %#x", p.NPFNs, p.PageStructSize, p.DataOff)
	}
	return nil
}

// Begins says that bytes begin as an info block does.
func Begins(p []byte) bool {
	for _, s := range []string{bttSignature, pfnSignature, daxSignature} {
		if len(p) >= 16 && string(p[:len(s)]) == s && p[len(s)] == 0 {
			return true
		}
	}
	return false
}
