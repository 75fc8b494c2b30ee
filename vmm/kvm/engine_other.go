//go:build !linux || !amd64

package kvm

import (
	"fmt"
	"runtime"

	"nvlab/vmm"
)

type host any

func absent() error {
	return &unusable{why: fmt.Sprintf("KVM runs x86-64 guests on linux/amd64 only, and this is %s/%s", runtime.GOOS, runtime.GOARCH)}
}

// New says that there is no KVM.
func (Engine) New(vmm.ProcessorSpec, vmm.Bus) (vmm.Processors, error) { return nil, absent() }

// Probe says that there is no KVM.
func Probe() Report { return Report{Err: absent()} }
