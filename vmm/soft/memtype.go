package soft

// Memory types, as the software engine numbers them: what most memory has is
// 0. They are kept for memory that is observed, where it counts when a store
// is durable.
const (
	typeWB = iota
	typeUC
	typeWC
	typeWT
	typeWP
)

// typesByCode has the types by what PAT and MTRRs call them (SDM 3A, table
// 12-2); 7 is UC-, a weaker UC.
var typesByCode = [8]uint8{typeUC, typeWC, typeUC, typeUC, typeWT, typeWP, typeWB, typeUC}

// pageType is the memory type of the page at pa by its paging-structure entry
// and the MTRRs (SDM 3A, table 12-7), 0 if nobody looks.
func (c *cpu) pageType(entry uint64, large bool, pa uint64) uint8 {
	if !c.observing {
		return 0
	}
	if r := c.p.mem.find(pa); r == nil || !r.observed {
		return 0
	}
	i := entry >> 3 & 3 // PWT, PCD
	if pat := entry >> 7; large && entry>>12&1 != 0 || !large && pat&1 != 0 {
		i |= 4
	}
	code := c.msr.pat >> (8 * i) & 7
	byPAT, byMTRR := typesByCode[code], c.mtrrType(pa)
	switch {
	case byMTRR == typeWB, byPAT == typeWC && code == 1:
		return byPAT
	case byPAT == typeWB:
		return byMTRR
	case byMTRR == typeWC && code == 7: // UC- yields to WC
		return typeWC
	case byMTRR == byPAT:
		return byPAT
	}
	return typeUC
}

// mtrrType is the type that the MTRRs give pa, above the fixed ranges (SDM 3A,
// 12.11.4.1).
func (c *cpu) mtrrType(pa uint64) uint8 {
	const valid, enabled = 1 << 11, 1 << 11
	if c.msr.mtrrDefType&enabled == 0 {
		return typeUC
	}
	found, t := false, uint8(typeWB)
	for i := 0; i < len(c.msr.mtrrVar); i += 2 {
		base, mask := c.msr.mtrrVar[i], c.msr.mtrrVar[i+1]
		if mask&valid == 0 || (pa^base)&mask&pteAddr != 0 {
			continue
		}
		switch u := typesByCode[base&7]; {
		case !found:
			found, t = true, u
		case t == u:
		case t == typeUC || u == typeUC:
			t = typeUC
		case t == typeWT || u == typeWT:
			t = typeWT
		}
	}
	if !found {
		return typesByCode[c.msr.mtrrDefType&7]
	}
	return t
}
