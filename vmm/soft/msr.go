package soft

import "nvlab/vmm/soft/x86"

// msrs are the model-specific registers that only hold a value.
type msrs struct {
	star, lstar, cstar, fmask uint64
	kernelGS                  uint64
	tscAux                    uint64
	pat                       uint64
	mtrrDefType               uint64
	mtrrVar                   [16]uint64
	mtrrFixed                 [11]uint64
	miscEnable                uint64
	sysenter                  [3]uint64
	debugCtl                  uint64
	hwcr                      uint64
	mcgStatus                 uint64
	mcBanks                   [mcBanks]mcBank
}

// Model-specific registers (SDM 4, table 2-2; C000_xxxx and C001_xxxx: AMD64
// Architecture Programmer's Manual 2, appendix A).
const (
	msrTSC         = 0x10
	msrAPICBase    = 0x1b
	msrUcodeRev    = 0x8b
	msrMTRRCap     = 0xfe
	msrSysenterCS  = 0x174
	msrSysenterEIP = 0x176
	msrMiscEnable  = 0x1a0
	msrDebugCtl    = 0x1d9
	msrMTRRVar     = 0x200
	msrMTRRVarLast = 0x20f
	msrMTRR64K     = 0x250
	msrMTRR16K     = 0x258
	msrMTRR4K      = 0x268
	msrPAT         = 0x277
	msrMTRRDef     = 0x2ff
	msrTSCDeadline = 0x6e0
	msrEFER        = 0xc0000080
	msrSTAR        = 0xc0000081
	msrLSTAR       = 0xc0000082
	msrCSTAR       = 0xc0000083
	msrFMASK       = 0xc0000084
	msrFSBase      = 0xc0000100
	msrGSBase      = 0xc0000101
	msrKernelGS    = 0xc0000102
	msrTSCAux      = 0xc0000103
	msrSYSCFG      = 0xc0010010
	msrHWCR        = 0xc0010015
)

const (
	patReset  = 0x0007040600070406
	mtrrCap   = 1<<10 | 1<<8 | 8 // WC, fixed ranges, 8 variable ranges
	mtrrDefWB = 1<<11 | 6        // enabled, write-back
)

// fixedMTRR is the index of a fixed-range MTRR, or -1.
func fixedMTRR(n uint32) int {
	switch {
	case n == msrMTRR64K:
		return 0
	case n == msrMTRR16K, n == msrMTRR16K+1:
		return 1 + int(n-msrMTRR16K)
	case n >= msrMTRR4K && n < msrMTRR4K+8:
		return 3 + int(n-msrMTRR4K)
	}
	return -1
}

func execRDMSR(c *cpu, _ *x86.Inst) bool {
	if c.cpl != 0 {
		return c.gp(0)
	}
	v, ok := c.readMSR(uint32(c.r[x86.RCX]))
	if !ok {
		return c.gp(0)
	}
	c.r[x86.RAX], c.r[x86.RDX] = uint64(uint32(v)), v>>32
	return true
}

func execWRMSR(c *cpu, _ *x86.Inst) bool {
	if c.cpl != 0 {
		return c.gp(0)
	}
	if !c.writeMSR(uint32(c.r[x86.RCX]), c.r[x86.RDX]<<32|uint64(uint32(c.r[x86.RAX]))) {
		return c.gp(0)
	}
	c.attn = true
	return true
}

// serializingMSR says that a write of an MSR is serializing. Of those that are
// not (SDM 3A, 9.3) only one is here.
func serializingMSR(n uint32) bool { return n != msrTSCDeadline }

func (c *cpu) readMSR(n uint32) (uint64, bool) {
	switch n {
	case msrTSC:
		return c.tsc(), true
	case msrAPICBase:
		return c.apic.Base, true
	case msrUcodeRev, msrSYSCFG:
		return 0, true
	case msrMTRRCap:
		return mtrrCap, true
	case msrMiscEnable:
		return c.msr.miscEnable, true
	case msrDebugCtl:
		return c.msr.debugCtl, true
	case msrPAT:
		return c.msr.pat, true
	case msrMTRRDef:
		return c.msr.mtrrDefType, true
	case msrTSCDeadline:
		return c.apic.Deadline, true
	case msrEFER:
		return c.efer, true
	case msrSTAR:
		return c.msr.star, true
	case msrLSTAR:
		return c.msr.lstar, true
	case msrCSTAR:
		return c.msr.cstar, true
	case msrFMASK:
		return c.msr.fmask, true
	case msrFSBase:
		return c.r[x86.SlotFS], true
	case msrGSBase:
		return c.r[x86.SlotGS], true
	case msrKernelGS:
		return c.msr.kernelGS, true
	case msrTSCAux:
		return c.msr.tscAux, true
	case msrHWCR:
		return c.msr.hwcr, true
	}
	switch {
	case n >= msrSysenterCS && n <= msrSysenterEIP:
		return c.msr.sysenter[n-msrSysenterCS], true
	case n >= msrMTRRVar && n <= msrMTRRVarLast:
		return c.msr.mtrrVar[n-msrMTRRVar], true
	}
	if i := fixedMTRR(n); i >= 0 {
		return c.msr.mtrrFixed[i], true
	}
	return c.readMachineCheck(n)
}

func (c *cpu) writeMSR(n uint32, v uint64) bool {
	switch n {
	case msrTSC:
		c.tscOffset += v - c.tsc()
		c.apic.Rearm()
	case msrAPICBase:
		return c.apic.SetBase(v, pteAddr&^c.p.reserved)
	case msrUcodeRev:
	case msrMiscEnable:
		c.msr.miscEnable = v
	case msrDebugCtl:
		c.msr.debugCtl = v & 3
	case msrPAT:
		for i := 0; i < 64; i += 8 {
			if t := v >> i & 0xff; t > 7 || t == 2 || t == 3 {
				return false
			}
		}
		c.msr.pat = v
		c.flushTLB(false)
	case msrMTRRDef:
		if v&^0xcff != 0 {
			return false
		}
		c.msr.mtrrDefType = v
		c.flushTLB(false)
	case msrTSCDeadline:
		c.apic.SetDeadline(v)
	case msrEFER:
		const known = x86.EFERSCE | x86.EFERLME | x86.EFERLMA | x86.EFERNXE
		if v&^known != 0 || (c.efer^v)&x86.EFERLME != 0 {
			return false
		}
		old := c.efer
		c.efer = v&^x86.EFERLMA | old&x86.EFERLMA
		if (old^v)&x86.EFERNXE != 0 {
			c.flushTLB(false)
		}
	case msrSTAR:
		c.msr.star = v
	case msrLSTAR:
		return setCanonical(&c.msr.lstar, v)
	case msrCSTAR:
		return setCanonical(&c.msr.cstar, v)
	case msrFMASK:
		c.msr.fmask = uint64(uint32(v))
	case msrFSBase:
		return setCanonical(&c.r[x86.SlotFS], v)
	case msrGSBase:
		return setCanonical(&c.r[x86.SlotGS], v)
	case msrKernelGS:
		return setCanonical(&c.msr.kernelGS, v)
	case msrTSCAux:
		if v>>32 != 0 {
			return false
		}
		c.msr.tscAux = v
	case msrHWCR:
		c.msr.hwcr = v
	default:
		switch i := fixedMTRR(n); {
		case i >= 0:
			c.msr.mtrrFixed[i] = v
			c.flushTLB(false)
		case n >= msrSysenterCS && n <= msrSysenterEIP:
			if n > msrSysenterCS {
				return setCanonical(&c.msr.sysenter[n-msrSysenterCS], v)
			}
			c.msr.sysenter[0] = uint64(uint32(v))
		case n >= msrMTRRVar && n <= msrMTRRVarLast:
			c.msr.mtrrVar[n-msrMTRRVar] = v
			c.flushTLB(false)
		default:
			return c.writeMachineCheck(n, v)
		}
	}
	return true
}

func setCanonical(to *uint64, v uint64) bool {
	if !x86.Canonical(v) {
		return false
	}
	*to = v
	return true
}
