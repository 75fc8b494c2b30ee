// Package units writes numbers of bytes and of things as people do, and rounds
// the former.
package units

import "fmt"

var names = []string{"", "KiB", "MiB", "GiB", "TiB"}

// Binary is a number of bytes in the largest binary unit that divides it. The
// unit is "" for bytes.
func Binary(n uint64) (count uint64, unit string) {
	i := 0
	for n != 0 && n%1024 == 0 && i < len(names)-1 {
		n /= 1024
		i++
	}
	return n, names[i]
}

// Size is Binary as an option takes it: "64MiB".
func Size(n uint64) string {
	count, unit := Binary(n)
	return fmt.Sprintf("%d%s", count, unit)
}

// Down rounds n down to a multiple of align, a power of two.
func Down(n, align uint64) uint64 { return n &^ (align - 1) }

// Up rounds n up to a multiple of align, a power of two. It reports false if
// the result does not fit into 64 bits.
func Up(n, align uint64) (uint64, bool) {
	up := Down(n+align-1, align)
	return up, up >= n
}
