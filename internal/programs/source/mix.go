//go:build ignore

// Mix does what Go's runtime and library do, and prints a checksum:
// goroutines, channels, maps, garbage, strings, floats, hashes, panics.
package main

import (
	"bytes"
	"compress/flate"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/big"
	"os"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"sync"
)

type node struct {
	Name  string         `json:"name"`
	Value float64        `json:"value"`
	Tags  map[string]int `json:"tags"`
	Left  *node          `json:"left,omitempty"`
	Right *node          `json:"right,omitempty"`
}

func tree(depth int, seed uint64) *node {
	if depth == 0 {
		return nil
	}
	seed = seed*6364136223846793005 + 1442695040888963407
	return &node{
		Name: strconv.FormatUint(seed, 36), Value: math.Sqrt(float64(seed>>11)) / 3,
		Tags: map[string]int{fmt.Sprint(seed & 7): int(seed >> 60), "depth": depth},
		Left: tree(depth-1, seed), Right: tree(depth-1, ^seed),
	}
}

func recovers(i int) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
	}()
	return fmt.Errorf("%d", []int{1, 2, 3}[i])
}

func main() {
	rounds, _ := strconv.Atoi(os.Args[1])
	h := sha256.New()
	for round := range rounds {
		text, err := json.Marshal(tree(6, uint64(round)))
		if err != nil {
			panic(err)
		}
		h.Write(text)

		var packed bytes.Buffer
		w, _ := flate.NewWriter(&packed, 6)
		w.Write(text)
		w.Close()
		plain, err := io.ReadAll(flate.NewReader(&packed))
		if err != nil || !bytes.Equal(plain, text) {
			panic("what was packed is not what was unpacked")
		}

		parts := make(chan uint64)
		var wait sync.WaitGroup
		for i := range 4 {
			wait.Go(func() {
				n := uint64(i)
				for range 2000 {
					n = n*2862933555777941757 + 3037000493
				}
				parts <- n
			})
		}
		go func() { wait.Wait(); close(parts) }()
		var total uint64
		for n := range parts {
			total += n
		}
		binary.Write(h, binary.LittleEndian, total)

		words := strings.FieldsFunc(string(text), func(r rune) bool { return strings.ContainsRune(`{}":,`, r) })
		count := map[string]int{}
		for _, s := range words {
			count[s]++
		}
		keys := make([]string, 0, len(count))
		for k := range count {
			keys = append(keys, k)
		}
		sort.Strings(keys)
		fmt.Fprint(h, len(keys), keys[len(keys)/2])

		product := big.NewInt(1)
		for i := int64(2); i < 60; i++ {
			product.Mul(product, big.NewInt(i))
		}
		fmt.Fprint(h, product, recovers(round%5), math.Sin(float64(round)), float32(round)/3)
		if round%8 == 0 {
			runtime.GC()
		}
	}
	fmt.Printf("%x\n", h.Sum(nil)[:8])
}
