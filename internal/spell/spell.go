// Package spell finds the name that somebody meant.
package spell

import (
	"slices"
	"strings"
)

// Nearest is the candidate closest to word, and "" if none is close enough to
// be what was meant: at most one letter in three wrong, or the one a prefix of
// the other, a part of it between underscores, or short for it, as cmd is for
// command. Of equals the first wins.
func Nearest(word string, candidates []string) string {
	best, limit := "", len(word)/3+1
	lower := strings.ToLower(word)
	for _, c := range candidates {
		other := strings.ToLower(c)
		if len(other)-len(lower) >= limit || len(lower)-len(other) >= limit {
			continue // so many letters are to insert or drop
		}
		if d := distance(lower, other); d < limit {
			best, limit = c, d
		}
	}
	if best != "" || len(word) < 3 {
		return best
	}
	for _, c := range candidates {
		if strings.HasPrefix(c, word) || len(c) > 1 && strings.HasPrefix(word, c) {
			return c
		}
	}
	for _, c := range candidates {
		if slices.Contains(strings.Split(word, "_"), c) || slices.Contains(strings.Split(c, "_"), word) || shortFor(word, c) {
			return c
		}
	}
	return ""
}

// shortFor says that word has letters of c in their order, the first among
// them.
func shortFor(word, c string) bool {
	if c == "" || word[0] != c[0] {
		return false
	}
	for i := range len(c) {
		if word != "" && c[i] == word[0] {
			word = word[1:]
		}
	}
	return word == ""
}

// distance counts the letters to insert, drop, change or swap with their
// neighbour (optimal string alignment).
func distance(a, b string) int {
	var before []int
	last := make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row := make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			change := last[j]
			if a[i] != b[j] {
				change++
			}
			row[j+1] = min(change, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
