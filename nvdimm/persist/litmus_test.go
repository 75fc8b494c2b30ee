package persist_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"nvlab/nvdimm/persist"
	"nvlab/vmm/observe"
)

// litmus is a program and what may be left of it when the power fails at its
// end. A state is a digit per watched place: the first byte there. States are
// sorted.
var litmus = []struct {
	name             string
	program          []byte
	events           []any // instead, for what a machine of one CPU cannot do
	watch            []int // of DIMM 0; from P on, of DIMM 1
	config           persist.Config
	adr, eadr, hints string
}{
	{name: "store", program: mov(A, 1), watch: []int{A}, adr: "0 1", eadr: "1", hints: "0 1"},
	{name: "store, clwb", program: code(mov(A, 1), clwb(A)), watch: []int{A}, adr: "0 1", eadr: "1", hints: "0 1"},
	{name: "store, clwb, sfence", program: code(mov(A, 1), clwb(A), sfence), watch: []int{A}, adr: "1", eadr: "1", hints: "0 1"},
	{name: "store, clwb, mfence", program: code(mov(A, 1), clwb(A), mfence), watch: []int{A}, adr: "1", eadr: "1", hints: "0 1"},
	{name: "store, clwb, lfence", program: code(mov(A, 1), clwb(A), lfence), watch: []int{A}, adr: "0 1", eadr: "1", hints: "0 1"},
	{name: "store, clwb, lock", program: code(mov(A, 1), clwb(A), lockOther), watch: []int{A}, adr: "1", eadr: "1", hints: "0 1"},
	{name: "store, clwb, cpuid", program: code(mov(A, 1), clwb(A), cpuid), watch: []int{A}, adr: "0 1", eadr: "1", hints: "0 1"},
	{name: "store, clwb, out", program: code(mov(A, 1), clwb(A), out), watch: []int{A}, adr: "0 1", eadr: "1", hints: "0 1"},
	{name: "store, clwb, mov to cr3", program: code(mov(A, 1), clwb(A), movToCR3), watch: []int{A}, adr: "0 1", eadr: "1", hints: "0 1"},
	{name: "store, clwb, device register", program: code(mov(A, 1), clwb(A), apicRead), watch: []int{A}, adr: "0 1", eadr: "1", hints: "0 1"},
	{name: "store, clwb, int", program: code(mov(A, 1), clwb(A), interrupt), watch: []int{A}, adr: "0 1", eadr: "1", hints: "0 1"},
	{name: "store, sfence", program: code(mov(A, 1), sfence), watch: []int{A}, adr: "0 1", eadr: "1", hints: "0 1"},
	{name: "clwb, store, sfence", program: code(clwb(A), mov(A, 1), sfence), watch: []int{A}, adr: "0 1", eadr: "1", hints: "0 1"},
	{name: "store, clwb, store, sfence", program: code(mov(A, 1), clwb(A), mov(A, 2), sfence), watch: []int{A}, adr: "1 2", eadr: "2", hints: "0 1 2"},
	{name: "store, clflushopt, sfence", program: code(mov(A, 1), clflushopt(A), sfence), watch: []int{A}, adr: "1", eadr: "1", hints: "0 1"},
	{name: "store, clflushopt, store elsewhere", program: code(mov(A, 1), clflushopt(A), mov(B, 2)), watch: []int{A, B}, adr: "00 02 10 12", eadr: "12", hints: "00 02 10 12"},
	{name: "store, clflush", program: code(mov(A, 1), clflush(A)), watch: []int{A}, adr: "0 1", eadr: "1", hints: "0 1"},
	{name: "store, clflush, store elsewhere", program: code(mov(A, 1), clflush(A), mov(B, 2)), config: intel, watch: []int{A, B}, adr: "10 12", eadr: "12", hints: "00 02 10 12"},
	{name: "store, clflush, store to the same line", program: code(mov(A, 1), clflush(A), mov(A+8, 2)), config: intel, watch: []int{A, A + 8}, adr: "10 12", eadr: "12", hints: "00 10 12"},
	{name: "store, clflush, clflush elsewhere", program: code(mov(A, 1), clflush(A), clflush(B)), config: intel, watch: []int{A}, adr: "1", eadr: "1", hints: "0 1"},
	{name: "store, clflush, clwb elsewhere", program: code(mov(A, 1), clflush(A), clwb(B)), watch: []int{A}, adr: "0 1", eadr: "1", hints: "0 1"},
	{name: "clflush does not wait for clwb", program: code(mov(A, 1), mov(B, 2), clflush(A), clwb(B), mov(C, 3)), config: intel, watch: []int{A, B, C},
		adr: "100 103 120 123", eadr: "123", hints: "000 003 020 023 100 103 120 123"},
	{name: "store, clflush, sfence", program: code(mov(A, 1), clflush(A), sfence), config: intel, watch: []int{A}, adr: "1", eadr: "1", hints: "0 1"},
	{name: "two stores to a line", program: code(mov(A, 1), mov(A+8, 2)), watch: []int{A, A + 8}, adr: "00 10 12", eadr: "12", hints: "00 10 12"},
	{name: "two stores to a place", program: code(mov(A, 1), mov(A, 2)), watch: []int{A}, adr: "0 1 2", eadr: "2", hints: "0 1 2"},
	{name: "two stores to two lines", program: code(mov(A, 1), mov(B, 2)), watch: []int{A, B}, adr: "00 02 10 12", eadr: "12", hints: "00 02 10 12"},
	{name: "two lines, one flushed", program: code(mov(A, 1), mov(B, 2), clwb(B), sfence), watch: []int{A, B}, adr: "02 12", eadr: "12", hints: "00 02 10 12"},
	{name: "two epochs", program: code(mov(A, 1), clwb(A), sfence, mov(B, 2), clwb(B)), watch: []int{A, B}, adr: "10 12", eadr: "12", hints: "00 02 10 12"},
	{name: "no fence between two epochs", program: code(mov(A, 1), clwb(A), mov(B, 2), clwb(B), sfence), watch: []int{A, B}, adr: "12", eadr: "12", hints: "00 02 10 12"},
	{name: "movnti", program: nt(A, 1), watch: []int{A}, adr: "0 1", eadr: "0 1", hints: "0 1"},
	{name: "movnti, sfence", program: code(nt(A, 1), sfence), watch: []int{A}, adr: "1", eadr: "1", hints: "0 1"},
	{name: "movnti, clwb", program: code(nt(A, 1), clwb(A)), watch: []int{A}, adr: "0 1", eadr: "0 1", hints: "0 1"},
	{name: "movnti, int", program: code(nt(A, 1), interrupt), watch: []int{A}, adr: "0 1", eadr: "0 1", hints: "0 1"},
	{name: "movnti, interrupt", events: events(kind(st(0, A, 1), observe.NonTemporal), fe(0, observe.Interrupt)), watch: []int{A}, adr: "1", eadr: "1", hints: "0 1"},
	{name: "movnti, device register", program: code(nt(A, 1), apicRead), watch: []int{A}, adr: "1", eadr: "1", hints: "0 1"},
	{name: "movnti, lock", program: code(nt(A, 1), lockOther), watch: []int{A}, adr: "1", eadr: "1", hints: "0 1"},
	{name: "two movnti to a line", program: code(nt(A, 1), nt(A+8, 2)), watch: []int{A, A + 8}, adr: "00 02 10 12", eadr: "00 02 10 12", hints: "00 02 10 12"},
	{name: "two movnti to a place", program: code(nt(A, 1), nt(A, 2)), watch: []int{A}, adr: "0 1 2", eadr: "0 1 2", hints: "0 1 2"},
	{name: "store, movnti to the line", program: code(mov(A, 1), nt(A+8, 2)), watch: []int{A, A + 8}, adr: "00 02 10 12", eadr: "10 12", hints: "00 02 10 12"},
	{name: "store, movnti to the place, sfence", program: code(mov(A, 1), nt(A, 2), sfence), watch: []int{A}, adr: "2", eadr: "2", hints: "0 1 2"},
	{name: "movnti, store to the place", program: code(nt(A, 1), mov(A, 2)), watch: []int{A}, adr: "0 1 2", eadr: "2", hints: "0 1 2"},
	{name: "store, movnti elsewhere, sfence", program: code(mov(A, 1), nt(B, 2), sfence), watch: []int{A, B}, adr: "02 12", eadr: "12", hints: "00 02 10 12"},
	{name: "movntdq", program: code(xmm(1, 2), movntdq(A)), watch: []int{A, A + 8}, adr: "00 02 10 12", eadr: "00 02 10 12", hints: "00 02 10 12"},
	{name: "movntdq, sfence", program: code(xmm(1, 2), movntdq(A), sfence), watch: []int{A, A + 8}, adr: "12", eadr: "12", hints: "00 02 10 12"},
	{name: "movdqu", program: code(xmm(1, 2), movdqu(A)), watch: []int{A, A + 8}, adr: "00 02 10 12", eadr: "00 02 10 12", hints: "00 02 10 12"},
	{name: "movdqu across lines", program: code(xmm(1, 2), movdqu(B-8)), watch: []int{B - 8, B}, adr: "00 02 10 12", eadr: "00 02 10 12", hints: "00 02 10 12"},
	{name: "movdqu, store, clwb", program: code(xmm(1, 2), movdqu(A), mov(A+16, 3), clwb(A)), watch: []int{A, A + 8, A + 16}, adr: "000 020 100 120 123", eadr: "123", hints: "000 020 100 120 123"},
	{name: "store across eight bytes", program: mov(A+4, 1<<24|1), watch: []int{A + 4, A + 7}, adr: "00 11", eadr: "00 11", hints: "00 11"},
	{name: "store across lines", program: mov(B-1, 2<<8|1), watch: []int{B - 1, B}, adr: "00 02 10 12", eadr: "00 02 10 12", hints: "00 02 10 12"},
	{name: "rep stosq", program: stos(A, 1, 2, true), watch: []int{A, A + 8}, adr: "00 01 10 11", eadr: "00 01 10 11", hints: "00 01 10 11"},
	{name: "rep stosb after a store", program: code(mov(A, 1), stos(A+8, 2, 2, false)), watch: []int{A, A + 8, A + 9}, adr: "000 100 102 120 122", eadr: "100 102 120 122", hints: "000 100 102 120 122"},
	{name: "rep stosb before a store", program: code(stos(A, 1, 2, false), mov(A+8, 2)), watch: []int{A, A + 1, A + 8}, adr: "000 010 100 110 112", eadr: "112", hints: "000 010 100 110 112"},
	{name: "rep stosq, clwb, sfence", program: code(stos(A, 1, 2, true), clwb(A), sfence), watch: []int{A, A + 8}, adr: "11", eadr: "11", hints: "00 01 10 11"},
	{name: "two rep stosb", program: code(stos(A, 1, 1, false), stos(A+8, 2, 1, false)), watch: []int{A, A + 8}, adr: "00 10 12", eadr: "12", hints: "00 10 12"},
	{name: "lock inc", program: lockInc(A), watch: []int{A}, adr: "0 1", eadr: "1", hints: "0 1"},
	{name: "xchg, clwb, xchg elsewhere", program: code(xchg(A, 1), clwb(A), xchg(B, 2)), watch: []int{A, B}, adr: "10 12", eadr: "12", hints: "00 02 10 12"},
	{name: "cmpxchg16b", program: cmpxchg16b(A, 1, 2), watch: []int{A, A + 8}, adr: "00 12", eadr: "12", hints: "00 12"},
	{name: "wbinvd", program: code(mov(A, 1), mov(B, 2), wbinvd), watch: []int{A, B}, adr: "12", eadr: "12", hints: "00 02 10 12"},
	{name: "store, clwb, sfence, hint", program: code(mov(A, 1), clwb(A), sfence, mov(H0, 1)), watch: []int{A}, adr: "1", eadr: "1", hints: "0 1"},
	{name: "store, clwb, hint", program: code(mov(A, 1), clwb(A), mov(H0, 1)), watch: []int{A}, adr: "0 1", eadr: "1", hints: "0 1"},
	{name: "store, hint", program: code(mov(A, 1), mov(H0, 1)), watch: []int{A}, adr: "0 1", eadr: "1", hints: "0 1"},
	{name: "hint before the fence", program: code(mov(A, 1), clwb(A), mov(H0, 1), sfence), watch: []int{A}, adr: "1", eadr: "1", hints: "0 1"},
	{name: "hint of the other DIMM", program: code(mov(A, 1), clwb(A), sfence, mov(H1, 1)), watch: []int{A}, adr: "1", eadr: "1", hints: "0 1"},
	{name: "two DIMMs, one hint", program: code(mov(A, 1), mov(P, 2), clwb(A), clwb(P), sfence, mov(H1, 1)), watch: []int{A, P}, adr: "12", eadr: "12", hints: "00 02 10 12"},
	{name: "movnti, sfence, hint", program: code(nt(A, 1), sfence, mov(H0, 1)), watch: []int{A}, adr: "1", eadr: "1", hints: "0 1"},
	{name: "movnti, hint", program: code(nt(A, 1), mov(H0, 1)), watch: []int{A}, adr: "1", eadr: "1", hints: "0 1"},
	{name: "store, clwb, sfence, hint, sfence", program: code(mov(A, 1), clwb(A), sfence, mov(H0, 1), sfence), watch: []int{A}, adr: "1", eadr: "1", hints: "1"},
	{name: "store, clwb, sfence, hint, lock", program: code(mov(A, 1), clwb(A), sfence, mov(H0, 1), lockOther), watch: []int{A}, adr: "1", eadr: "1", hints: "1"},
	{name: "store, clwb, sfence, hint, store, clwb, sfence", program: code(mov(A, 1), clwb(A), sfence, mov(H0, 1), mov(A, 2), clwb(A), sfence), watch: []int{A}, adr: "2", eadr: "2", hints: "1 2"},
	{name: "hint of the other DIMM, sfence", program: code(mov(A, 1), clwb(A), sfence, mov(H1, 1), sfence), watch: []int{A}, adr: "1", eadr: "1", hints: "0 1"},
	{name: "two DIMMs, one hint, sfence", program: code(mov(A, 1), mov(P, 2), clwb(A), clwb(P), sfence, mov(H1, 1), sfence), watch: []int{A, P}, adr: "12", eadr: "12", hints: "02 12"},
	{name: "store, movnti to a half of it", program: code(mov(A, 1<<24|1), ntd(A, 2)), watch: []int{A, A + 3}, adr: "00 11 20", eadr: "11 20", hints: "00 11 20"},
	{name: "movnti, store to its first byte", program: code(nt(A, 1<<24|1), movb(A, 2)), watch: []int{A, A + 3}, adr: "00 11 21", eadr: "21", hints: "00 11 21"},
	{name: "store, movnti to a half of it, sfence", program: code(mov(A-8+64, 3), mov(A+4, 1), ntd(A+4, 2), sfence), watch: []int{A + 56, A + 4}, adr: "32", eadr: "32", hints: "00 30 31 32"},
	{name: "device's store, then a store to a half of it", events: events(kind(st(0, A+8, 1<<32|1), observe.Device), half(st(0, A+8, 2))), watch: []int{A + 8, A + 12}, adr: "00 11 21", eadr: "21", hints: "00 11 21"},
	{name: "uncached store", program: mov(UC+A, 1), watch: []int{A}, adr: "1", eadr: "1", hints: "0 1"},
	{name: "movnti, uncached store", program: code(nt(A, 1), mov(UC+B, 2)), watch: []int{A, B}, adr: "12", eadr: "12", hints: "00 02 10 12"},
	{name: "movnti to uncached memory", program: nt(UC+A, 1), watch: []int{A}, adr: "1", eadr: "1", hints: "0 1"},
	{name: "store, uncached store elsewhere", program: code(mov(A, 1), mov(UC+B, 2)), watch: []int{A, B}, adr: "02 12", eadr: "12", hints: "00 02 10 12"},
	{name: "uncached store, sfence, hint, sfence", program: code(mov(UC+A, 1), sfence, mov(H0, 1), sfence), watch: []int{A}, adr: "1", eadr: "1", hints: "1"},
	{name: "write-through store", program: mov(WT+A, 1), watch: []int{A}, adr: "0 1", eadr: "1", hints: "0 1"},
	{name: "write-through store, sfence", program: code(mov(WT+A, 1), sfence), watch: []int{A}, adr: "1", eadr: "1", hints: "0 1"},
	{name: "other memory does not count", program: code(mov(A, 1), clwb(A), storeRAM), watch: []int{A}, adr: "0 1", eadr: "1", hints: "0 1"},
	{name: "log and commit, right", program: code(mov(A, 1), clwb(A), sfence, mov(B, 2), clwb(B), sfence), watch: []int{A, B}, adr: "12", eadr: "12", hints: "00 02 10 12"},
	{name: "bytes of a place", program: code(movb(A, 1), movb(A+1, 2), movb(A, 3)), watch: []int{A, A + 1}, adr: "00 10 12 32", eadr: "32", hints: "00 10 12 32"},

	{name: "store, clflush, mfence, as AMD's", program: code(mov(A, 1), clflush(A), mfence), watch: []int{A}, adr: "0 1", eadr: "1", hints: "0 1"},
	{name: "store, mfence, clflush, mfence, as AMD's", program: code(mov(A, 1), mfence, clflush(A), mfence), watch: []int{A}, adr: "1", eadr: "1", hints: "0 1"},
	{name: "store, mfence, clflush, lock, as AMD's", program: code(mov(A, 1), mfence, clflush(A), lockOther), watch: []int{A}, adr: "0 1", eadr: "1", hints: "0 1"},
	{name: "store, mfence, store, clflush, mfence, as AMD's", program: code(mov(A, 1), mfence, mov(A, 2), clflush(A), mfence), watch: []int{A}, adr: "1 2", eadr: "2", hints: "0 1 2"},
	{name: "store, clflush, mfence", program: code(mov(A, 1), clflush(A), mfence), config: intel, watch: []int{A}, adr: "1", eadr: "1", hints: "0 1"},
	{name: "movnti, clflush, store", program: code(nt(A, 1), clflush(B), mov(C, 2)), config: intel, watch: []int{A, C}, adr: "10 12", eadr: "12", hints: "00 02 10 12"},
	{name: "movnti, clwb, store", program: code(nt(A, 1), clwb(A), mov(C, 2)), watch: []int{A, C}, adr: "00 02 10 12", eadr: "02 12", hints: "00 02 10 12"},
	{name: "movaps", program: code(xmm(1, 2), movdqu(A)), config: persist.Config{Atomic16: true}, watch: []int{A, A + 8}, adr: "00 12", eadr: "12", hints: "00 12"},
	{name: "movups of two halves of 16 bytes", program: code(xmm(1, 2), movdqu(A+8)), config: persist.Config{Atomic16: true}, watch: []int{A + 8, A + 16}, adr: "00 02 10 12", eadr: "00 02 10 12", hints: "00 02 10 12"},

	{name: "the kernel's durable write", program: code(nt(A, 1), mov(A+8, 2), clwb(A), sfence, mov(H0, 1), sfence), watch: []int{A, A + 8}, adr: "12", eadr: "12", hints: "12"}, // R16
	{name: "the kernel's durable write, without its first fence", program: code(mov(A, 1), clwb(A), mov(H0, 1), sfence), watch: []int{A}, adr: "1", eadr: "1", hints: "0 1"},

	{name: "another CPU's fence", events: events(st(0, A, 1), fl(0, A, observe.CLWB), fe(1, observe.SFENCE)), watch: []int{A}, adr: "0 1", eadr: "1", hints: "0 1"},
	{name: "another CPU's write-back and fence", events: events(st(0, A, 1), fl(1, A, observe.CLWB), fe(1, observe.SFENCE)), watch: []int{A}, adr: "1", eadr: "1", hints: "0 1"},
	{name: "another CPU's fence after a movnti", events: events(kind(st(0, A, 1), observe.NonTemporal), fe(1, observe.MFENCE)), watch: []int{A}, adr: "0 1", eadr: "0 1", hints: "0 1"},
	{name: "a CPU folds, another's write-back is stale", events: events(st(0, A, 1), fl(1, A, observe.CLWB), fl(0, A, observe.CLWB), fe(0, observe.SFENCE), st(0, A, 2), fe(1, observe.SFENCE)),
		watch: []int{A}, adr: "1 2", eadr: "2", hints: "0 1 2"},
	{name: "wbinvd of another CPU", events: events(st(0, A, 1), fe(1, observe.WBINVD|observe.Serializing)), watch: []int{A}, adr: "0 1", eadr: "1", hints: "0 1"},
	{name: "wbinvd of the CPU that stored last", events: events(st(0, A, 1), st(1, A+8, 2), fe(1, observe.WBINVD|observe.Serializing)), watch: []int{A, A + 8}, adr: "12", eadr: "12", hints: "00 10 12"},
	{name: "wbinvd of a CPU that stored first", events: events(st(1, A, 1), st(0, A+8, 2), fe(1, observe.WBINVD|observe.Serializing)), watch: []int{A, A + 8}, adr: "00 10 12", eadr: "12", hints: "00 10 12"},
	{name: "wbinvd of every CPU", events: events(st(0, A, 1), st(1, B, 2), fe(1, observe.WBINVD), fe(0, observe.WBINVD)), watch: []int{A, B}, adr: "12", eadr: "12", hints: "00 02 10 12"},
	{name: "another CPU's store on top of a movnti", events: events(kind(st(0, A, 1), observe.NonTemporal), st(1, A, 2), st(1, A+8, 3)), watch: []int{A, A + 8}, adr: "00 10 13 20 23", eadr: "13 23", hints: "00 10 13 20 23"},
	{name: "two CPUs' movnti to a place", events: events(kind(st(0, A, 1), observe.NonTemporal), kind(st(1, A, 2), observe.NonTemporal), fe(1, observe.SFENCE)), watch: []int{A}, adr: "1 2", eadr: "1 2", hints: "0 1 2"},
	{name: "two CPUs' movnti to a place, both fenced", events: events(kind(st(0, A, 1), observe.NonTemporal), kind(st(1, A, 2), observe.NonTemporal), fe(1, observe.SFENCE), fe(0, observe.SFENCE)), watch: []int{A}, adr: "2", eadr: "2", hints: "0 1 2"},
	{name: "movdir64b", events: events(movdir(1, 2, 3, 4, 5, 6, 7, 8)...), watch: []int{A, A + 8, A + 56}, adr: "000 128", eadr: "000 128", hints: "000 128"},
	{name: "a device's store", events: events(kind(st(0, A, 1), observe.Device)), watch: []int{A}, adr: "0 1", eadr: "1", hints: "0 1"},
	{name: "a device's store, clwb, sfence", events: events(kind(st(0, A, 1), observe.Device), fl(0, A, observe.CLWB), fe(0, observe.SFENCE)), watch: []int{A}, adr: "1", eadr: "1", hints: "0 1"},
	{name: "a store and a device's", events: events(st(0, A, 1), kind(st(0, A+8, 2), observe.Device)), watch: []int{A, A + 8}, adr: "00 02 10 12", eadr: "12", hints: "00 02 10 12"},
}

var intel = persist.Config{IntelCLFLUSH: true}

// Events of litmus programs that no machine of one CPU runs.

func events(list ...any) []any { return list }

var groups atomic.Uint64

func st(cpu uint8, off, v int) any {
	return observe.Store{At: observe.At{VCPU: cpu}, Base: dimmAt, Offset: uint64(off), Size: 8, Value: uint64(v), Group: groups.Add(1)}
}

// half is a store without its upper 4 bytes.
func half(e any) any {
	s := e.(observe.Store)
	s.Size = 4
	return s
}

func kind(e any, k observe.Kind) any {
	s := e.(observe.Store)
	s.Kind = k
	return s
}

func fl(cpu uint8, off int, op observe.FlushOp) any {
	return observe.Flush{At: observe.At{VCPU: cpu}, Base: dimmAt, Offset: uint64(off), Op: op}
}

func fe(cpu uint8, o observe.Order) any { return observe.Fence{At: observe.At{VCPU: cpu}, Order: o} }

// movdir is MOVDIR64B, which is never torn: it has the kind of what is not.
func movdir(values ...int) (list []any) {
	for i, v := range values {
		e := st(0, A+8*i, v).(observe.Store)
		e.Kind, e.Group = observe.NonTemporal|observe.Locked, 1<<40
		list = append(list, e)
	}
	return list
}

// watched shows an image by the places that a program watches.
func watched(image string, watch []int) string {
	var b strings.Builder
	for _, off := range watch {
		if off >= P {
			off += dimmSize - P
		}
		fmt.Fprint(&b, image[off])
	}
	return b.String()
}

func show(images []string, watch []int) string {
	set := map[string]bool{}
	for _, i := range images {
		set[watched(i, watch)] = true
	}
	return strings.Join(slices.Sorted(maps.Keys(set)), " ")
}

// found gives the images of a journal's states.
func found(t *testing.T, j *persist.Journal, media []*persist.Medium, search persist.Search) []string {
	t.Helper()
	images := map[string]bool{}
	for s := range search.States(j) {
		img := imageOf(s, media)
		if images[img] {
			t.Errorf("state %s: its image was visited before", s.ID)
		}
		images[img] = true
		again, err := j.Find(s.ID)
		if err != nil {
			t.Error(err)
		} else if imageOf(again, media) != img {
			t.Errorf("Find(%s) is another state", s.ID)
		}
	}
	if search.Sampled > 0 {
		t.Errorf("%d points were sampled, want every state of each", search.Sampled)
	}
	return slices.Sorted(maps.Keys(images))
}

func imageOf(s *persist.State, media []*persist.Medium) string {
	mem := make([]byte, 2*dimmSize)
	lines, _ := s.Image()
	for _, l := range lines {
		copy(mem[slices.Index(media, l.Medium)*dimmSize+int(l.N)*persist.LineSize:], l.Bytes[:])
	}
	return string(mem)
}

func TestLitmus(t *testing.T) {
	t.Parallel()
	platforms := []struct {
		name     string
		platform persist.Platform
		rules    rules
		config   persist.Config
	}{
		{"ADR", persist.ADR, rules{platform: adr}, persist.Config{}},
		{"eADR", persist.EADR, rules{platform: eadr}, persist.Config{}},
		{"hints", persist.Hints, rules{platform: hints}, persist.Config{}},
		{"ADR, aligned vectors whole", persist.ADR, rules{platform: adr, atomic16: true}, persist.Config{Atomic16: true}},
		{"eADR, aligned vectors whole", persist.EADR, rules{platform: eadr, atomic16: true}, persist.Config{Atomic16: true}},
		{"ADR, CLFLUSH as Intel's", persist.ADR, rules{platform: adr, intel: true}, persist.Config{IntelCLFLUSH: true}},
		{"hints, CLFLUSH as Intel's", persist.Hints, rules{platform: hints, intel: true}, persist.Config{IntelCLFLUSH: true}},
		{"eADR, CLFLUSH as Intel's", persist.EADR, rules{platform: eadr, intel: true}, persist.Config{IntelCLFLUSH: true}},
		{"ADR, fences by name only", persist.ADR, rules{platform: adr, explicit: true}, persist.Config{Explicit: true}},
		{"hints, fences by name only", persist.Hints, rules{platform: hints, explicit: true}, persist.Config{Explicit: true}},
		{"no promise", persist.Nothing, rules{platform: nothing}, persist.Config{}},
		{"flush requests", persist.Requests, rules{platform: requests}, persist.Config{}},
	}
	for _, tt := range litmus {
		t.Run(tt.name, func(t *testing.T) {
			c := &collector{}
			if tt.program != nil {
				c = run(t, tt.program)
			} else {
				c.replay(tt.events)
			}
			for i, want := range []string{tt.adr, tt.eadr, tt.hints} {
				p := platforms[i]
				_, j, media, _ := feed(c.events, len(c.events), p.platform, tt.config, true)
				if got := show(found(t, j, media, persist.Search{At: persist.AtEnd}), tt.watch); got != want {
					t.Errorf("%s: states %q, want %q", p.name, got, want)
				}
			}
			for _, p := range platforms {
				all := map[string]bool{}
				for n := range len(c.events) + 1 {
					if n > 0 && n < len(c.steps) && c.steps[n].what == "store" && c.steps[n-1].what == "store" && p.rules.together(&c.steps[n-1], &c.steps[n]) {
						continue // the power does not fail here
					}
					want := p.rules.legal(c.steps[:n], dimmSize)
					for _, img := range want {
						all[img] = true
					}
					model, j, media, mem := feed(c.events, n, p.platform, p.config, true)
					got := found(t, j, media, persist.Search{At: persist.AtEnd})
					if !slices.Equal(got, want) {
						t.Errorf("%s: after %d of %d events, states %q, want by the rules %q", p.name, n, len(c.events), show(got, tt.watch), show(want, tt.watch))
					}
					checkCuts(t, model, mem, want, p.rules.least(c.steps[:n], dimmSize))
				}
				_, j, media, _ := feed(c.events, len(c.events), p.platform, p.config, true)
				for _, at := range []persist.What{persist.AtAny, persist.AtStore, persist.AtFence} {
					if p.platform == persist.EADR && at == persist.AtFence {
						continue // states lie between any two stores
					}
					got := found(t, j, media, persist.Search{At: at})
					if want := slices.Sorted(maps.Keys(all)); !slices.Equal(got, want) {
						t.Errorf("%s: at=%v visits %q, want by the rules %q", p.name, at, show(got, tt.watch), show(want, tt.watch))
					}
				}
			}
		})
	}
	if n := len(litmus); n < 40 {
		t.Errorf("%d programs, want at least 40", n)
	}
}

// checkCuts cuts the power with each choice of what is kept.
func checkCuts(t *testing.T, m *persist.Model, mem [2][]byte, legal []string, least string) {
	t.Helper()
	visible := string(mem[0]) + string(mem[1])
	now := func() string { return string(mem[0]) + string(mem[1]) }
	back := func() { copy(mem[0], visible[:dimmSize]); copy(mem[1], visible[dimmSize:]) }
	for seed := range uint64(3) {
		m.Cut(persist.KeepRandom, seed).Apply(clone(m))
		if !slices.Contains(legal, now()) {
			t.Errorf("a random cut leaves an illegal state")
		}
		back()
	}
	m.Cut(persist.KeepAll, 0).Apply(clone(m))
	if now() != visible {
		t.Errorf("a cut that keeps all changes the memory")
	}
	m.Cut(persist.KeepNone, 0).Apply(m)
	if now() != least {
		t.Errorf("a cut that keeps nothing leaves another state than what is guaranteed")
	}
}

// clone is a model whose media can be declared clean without harm.
func clone(m *persist.Model) *persist.Model { return persist.NewModel(m.Config) }

func (c *collector) replay(list []any) {
	for _, e := range list {
		switch e := e.(type) {
		case observe.Store:
			c.Store(&e)
		case observe.Flush:
			c.Flush(&e)
		case observe.Fence:
			c.Fence(&e)
		}
	}
}
