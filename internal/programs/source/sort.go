//go:build ignore

// Sort sorts numbers and strings, and prints a checksum of their order.
package main

import (
	"fmt"
	"hash/crc64"
	"os"
	"slices"
	"sort"
	"strconv"
)

func main() {
	rounds, _ := strconv.Atoi(os.Args[1])
	var sum uint64
	state := uint64(88172645463325252)
	next := func() uint64 {
		state ^= state << 13
		state ^= state >> 7
		state ^= state << 17
		return state
	}
	table := crc64.MakeTable(crc64.ECMA)
	for range rounds {
		numbers := make([]uint64, 40_000)
		for i := range numbers {
			numbers[i] = next()
		}
		slices.Sort(numbers)
		for i := range numbers {
			sum = sum*31 + numbers[i]
		}
		words := make([]string, 4_000)
		for i := range words {
			words[i] = strconv.FormatUint(next()>>20, 36)
		}
		sort.Slice(words, func(i, j int) bool { return words[i] < words[j] })
		for _, w := range words {
			sum = crc64.Update(sum, table, []byte(w))
		}
	}
	fmt.Printf("%016x\n", sum)
}
