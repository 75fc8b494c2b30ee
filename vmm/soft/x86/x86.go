// Package x86 is what the tiers of the software processor know alike of the
// architecture: how instructions are encoded, and the numbers of registers,
// flags and operations. It is pure and keeps no state.
//
// References are to the Intel 64 and IA-32 Architectures Software Developer's
// Manual ("SDM").
package x86
