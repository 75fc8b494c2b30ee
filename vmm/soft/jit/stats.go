package jit

// Stats counts what a compiler did.
type Stats struct {
	Blocks, Entries, Flushes, Clones, EdgeStubs, Refills uint64
	Streamed                                             uint64 // stores that code noted: see abi.Stream
	Size, Free, FreeRare                                 int    // bytes of code, and how many there is room for
	Huge                                                 int    // bytes of code in huge pages
}
