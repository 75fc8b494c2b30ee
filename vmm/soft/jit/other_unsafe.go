//go:build !(linux && amd64)

package jit

import (
	"errors"
	"runtime"
	"unsafe"

	"nvlab/vmm/soft/abi"
	"nvlab/vmm/soft/ir"
)

// A Compiler is what this host has none of.
type Compiler struct{ Count Stats }

// New returns an error.
func New(*ir.Arena, abi.Layout) (*Compiler, error) {
	return nil, errors.New("no compiler for " + runtime.GOOS + "/" + runtime.GOARCH)
}

func (*Compiler) Full() bool                 { return false }
func (*Compiler) Flush()                     {}
func (*Compiler) Compile(uint32) uint32      { return 0 }
func (*Compiler) Link(uint32, uint32)        {}
func (*Compiler) GuardFailed(uint32)         {}
func (*Compiler) Base() uintptr              { return 0 }
func (*Compiler) Run(unsafe.Pointer, uint32) {}
func (*Compiler) Forget()                    {}
func (*Compiler) Settle()                    {}
func (*Compiler) Close() error               { return nil }
func (*Compiler) Stats() Stats               { return Stats{} }
