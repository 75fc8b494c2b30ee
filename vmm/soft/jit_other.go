//go:build !(linux && amd64)

package soft

import (
	"errors"
	"runtime"
)

// native is the compiler, which this host has none of.
type compiler struct{}

func newCompiler(*blockCache) (*compiler, error) {
	return nil, errors.New("no compiler for " + runtime.GOOS + "/" + runtime.GOARCH)
}

func (*compiler) forget()              {}
func (*compiler) unfollow()            {}
func (*compiler) settle()              {}
func (*compiler) close() error         { return nil }
func (*compiler) stats() compilerStats { return compilerStats{} }

func (c *cpu) runNative() {
	o := &c.p.cache.ops[c.at/opSize]
	o.disp = cold
	c.native.why = leftHeader
}
