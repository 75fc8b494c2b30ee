package soft

// blockCache holds decoded blocks.
type blockCache struct{}

type jumpEntry struct{ rip, gen uint64 }

const jcSize = 4096

func (b *blockCache) init()                        {}
func (b *blockCache) reset(*memory)                {}
func (b *blockCache) forgetJumps()                 {}
func (b *blockCache) forgetLocalJumps()            {}
func (b *blockCache) forgetPage(uint64)            {}
func (b *blockCache) dropPage(r *region, o uint64) {}

func (c *cpu) fast(limit uint64) {
	for c.now < limit && !c.attn {
		c.stepOne()
	}
}
