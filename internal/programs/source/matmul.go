//go:build ignore

// Matmul multiplies matrices of doubles and prints a checksum of the product.
package main

import (
	"fmt"
	"math"
	"os"
	"strconv"
)

const n = 96

func main() {
	rounds, _ := strconv.Atoi(os.Args[1])
	var a, b, c [n][n]float64
	for i := range n {
		for j := range n {
			a[i][j] = float64((i*j)%17) / 7
			b[i][j] = float64((i+3*j)%13) / 11
		}
	}
	for range rounds {
		c = [n][n]float64{}
		for i := range n {
			for k := range n {
				x := a[i][k]
				for j := range n {
					c[i][j] += x * b[k][j]
				}
			}
		}
		a[0][0] = math.Mod(c[n-1][n-1], 3)
	}
	var sum uint64
	for i := range n {
		for j := range n {
			sum = sum*31 + math.Float64bits(c[i][j])
		}
	}
	fmt.Printf("%016x\n", sum)
}
