// Package nestedtest runs nvlab on a real KVM on any machine: in a guest of
// QEMU's TCG, which has AMD's virtualisation and so a kernel with kvm_amd. It
// is a test, for QEMU to have and nvlab not to need:
//
//	NVLAB_NESTED=1 go test -v -timeout 90m ./nestedtest
//
// NVLAB_NESTED=full takes longer: all scenarios. The flag -steps RE picks some.
package nestedtest
