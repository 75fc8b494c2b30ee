package rootfs

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
)

// randomTree has files, links and folders under few names, so that two of them
// have much in common.
func randomTree(t *testing.T, rng *rand.Rand) *Tree {
	tr := NewTree()
	for range rng.IntN(12) {
		p := fmt.Sprintf("d%d", rng.IntN(3))
		for range rng.IntN(3) {
			p += fmt.Sprintf("/e%d", rng.IntN(3))
		}
		n := Node{Mode: ModeRegular | 0o644}
		switch rng.IntN(5) {
		case 0:
			n = Node{Mode: ModeSymlink | 0o777, Link: []string{"x", "/y/z"}[rng.IntN(2)]}
		case 1:
			n = Node{Mode: ModeDir | 0o755}
		case 2:
			n.Mode |= 0o111
			fallthrough
		default:
			n.Content = Bytes(fmt.Sprint("content ", rng.IntN(3)))
			n.Size = int64(len(n.Content.(Bytes)))
			n.Deferred = rng.IntN(6) == 0
		}
		_ = tr.Add(p, n) // some cannot be there
	}
	return tr
}

// unpack does with an archive's segments what the kernel does (Linux,
// init/initramfs.c): an object of another type goes first, unless it is a folder
// with something in it.
func unpack(t *testing.T, segments ...*Tree) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, s := range segments {
		for _, p := range s.Paths() {
			n := s.nodes[p]
			text := fmt.Sprintf("%o %s %v", n.Mode, n.Link, n.Deferred)
			if n.Content != nil && !n.Deferred {
				b, err := n.ReadAll()
				if err != nil {
					t.Fatal(err)
				}
				text += string(b)
			}
			all[p] = text
		}
	}
	return all
}

func TestBeyond(t *testing.T) {
	seed := rand.Uint64()
	apart := 0
	for i := range 2000 {
		rng := rand.New(rand.NewPCG(seed, uint64(i)))
		base, tr := randomTree(t, rng), randomTree(t, rng)
		for p, n := range base.nodes { // most are a base with more
			if rng.IntN(20) > 0 && tr.nodes[p] == nil {
				_ = tr.Add(p, *n)
			}
		}
		var b bytes.Buffer
		if err := base.WriteCPIO(&b); err != nil {
			t.Fatal(err)
		}
		own, err := tr.Beyond(&b)
		if err != nil {
			t.Fatal(err)
		}
		can := true
		for p, n := range base.nodes {
			got := tr.nodes[p]
			can = can && got != nil && (n.Mode&ModeType != ModeDir || got.Mode == n.Mode)
		}
		if (own != nil) != can {
			t.Fatalf("seed %d, round %d: a segment beyond another: %v, want %v", seed, i, own != nil, can)
		}
		if own == nil {
			apart++
			continue
		}
		if got, want := unpack(t, base, own), unpack(t, tr); !maps.Equal(got, want) {
			t.Fatalf("seed %d, round %d: both segments are\n%q, want\n%q", seed, i, got, want)
		}
		for p, n := range own.nodes {
			if old := base.nodes[p]; old != nil && unpack(t, &Tree{nodes: map[string]*Node{p: old}})[p] == unpack(t, &Tree{nodes: map[string]*Node{p: n}})[p] {
				t.Fatalf("seed %d, round %d: the second segment repeats %s", seed, i, p)
			}
		}
	}
	if apart < 50 || apart > 1900 {
		t.Errorf("%d pairs of trees of 2000 have no such segment: this tests little", apart)
	}
}
