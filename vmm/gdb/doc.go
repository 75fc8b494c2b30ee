// Package gdb lets gdb look at machines by its remote serial protocol (GDB manual,
// appendix "GDB Remote Serial Protocol"): a processor is a thread, whose number is
// that of the processor and one. It sees a machine by the interface [Target].
//
// One [Server] serves all machines of a run, of which one runs at a time.
// Breakpoints hold in each of them; gdb sees the machine that stopped. The first
// machine waits for gdb before its first instruction. Later ones stop when gdb
// comes, asks for that, or at a breakpoint.
//
// The protocol's all-stop mode is spoken. While a machine is stopped, its clock is, and
// nothing that it does depends on how long that was, or on where.
package gdb
