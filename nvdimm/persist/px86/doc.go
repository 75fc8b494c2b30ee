// Package px86 says what an NVDIMM may hold after a power failure, for programs of a few instructions: a second opinion to package
// persist, with which it shares nothing, neither code nor tables, so that one mistake is not in both.
//
// It says so twice, in two forms that share only what an operation is (table) and how a store splits (split):
//
//   - Program.Axioms is declarative, in the style of Px86: a content of memory is legal if the events of the program can be put in
//     an order that breaks no axiom and leaves it.
//   - Program.Machine is operational, in the style of PTSOsyn: a processor with store buffers, write-combining buffers and caches
//     that runs the program in every way.
//
// A test holds them to each other on random programs; another holds both to the litmus tests of the papers. Package persist's
// TestSecondOpinion compares its model with them.
//
// # What is judged
//
// A program is a trace: which instruction of which CPU retired, in which order. Memory that retired stores can leave depends on when
// they became visible to all and when they reached the medium, of which the trace says little. It has no loads: where a load saw
// another CPU's store, fewer contents are possible than are named here.
//
// # The axioms
//
// An operation takes effect after it began. It has taken effect when it ends if it is a cached or uncached store and Rules.Buffers
// is false, if it is locked, or if it is a WBINVD. When an instruction ends that drains a buffer, by the table of kinds, what was in
// that buffer has taken effect.
//
//  1. Cached and uncached stores of a CPU become visible in program order; those of one string instruction, and the pieces of one
//     store, in any order (SDM vol. 3, 9.2.2 and 9.2.4).
//  2. Non-temporal stores become visible in any order, but before a later uncached store or locked instruction. Stores of a CPU
//     that share bytes are in program order, whatever their kinds (coherence: Raad, Maranget, Vafeiadis, POPL 2022): a cached
//     one waits in the cache until an older non-temporal one to its bytes has left its buffer.
//  3. Intel's CLFLUSH is in order with all stores of its CPU and with its CLFLUSHes (SDM vol. 3, 9.2.2). AMD's is in order with
//     MFENCE only, and misses stores that were in the store buffer (APM vol. 3, CLFLUSH: "weakly-ordered"; LFENCE, SFENCE and
//     serializing instructions do not order it).
//  4. CLWB and CLFLUSHOPT come after the older stores to their line and before a later SFENCE, MFENCE or locked instruction, in no
//     other order (SDM vol. 2).
//  5. A line has a last write-back, after every flush of it that took effect. What it wrote are the cached stores that were visible
//     before: so those of one line persist in the order in which they became visible, and lines independently (Px86).
//  6. Uncached and non-temporal stores go to memory when they become visible.
//  7. Of stores that share bytes, the later is not on the medium without the earlier: an aligned 8 bytes of it are what memory
//     held at some time. Other than that non-temporal stores are in no order with the cached ones of their line. The SDM
//     (vol. 1, 10.4.6.2) says that they evict the line from the caches; that this writes the whole line back first is a stronger
//     reading.
//  8. WBINVD is a flush of those lines to which its CPU stored last (SDM vol. 2: "the processor's internal caches").
//  9. With eADR what is visible is on the medium; store buffers and write-combining buffers are lost.
//  10. Where only flush hints are promised, a store is on the medium for certain when a hint of its DIMM took effect after its line
//     was flushed, or after it went to memory.
//  11. A device's stores are on the medium, or not, in any order, until a flush of their line.
//
// # Two readings
//
// SFENCE waits: SDM vol. 3, "Store Buffer", has it drain that buffer, like MFENCE. Px86 lets it retire first, which no program can
// tell on one CPU; of several, a trace without loads would then say nothing of the order between them. A locked access that crosses
// lines may be torn there by a power failure, though not for another CPU.
package px86
