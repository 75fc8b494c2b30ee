package lab

import "testing"

// TestCoresOfNodes: no package is on two nodes, and a package is as large as that
// lets it be.
func TestCoresOfNodes(t *testing.T) {
	for _, tt := range []struct {
		cpus  int
		nodes [][]int
		want  int
	}{
		{4, nil, 0},
		{4, [][]int{nil, nil}, 0},
		{4, [][]int{{0, 1, 2, 3}, nil}, 0},
		{2, [][]int{{0}, {1}}, 1},
		{4, [][]int{{0, 1}, {2, 3}}, 2},
		{4, [][]int{{2, 3}, nil, {0, 1}}, 2},
		{4, [][]int{{0, 2}, {1, 3}}, 1},
		{3, [][]int{{0, 1}, {2}}, 2},
		{8, [][]int{{0, 1, 2, 3}, {4, 5}, {6, 7}}, 2},
		{6, [][]int{{0, 1, 2}, {3, 4, 5}}, 1},
		{6, [][]int{{0, 1, 2, 3}, {4, 5}}, 4},
	} {
		o := &VMOptions{CPUs: tt.cpus}
		for _, n := range tt.nodes {
			o.NUMA = append(o.NUMA, NUMANode{CPUs: n})
		}
		if got := o.cores(); got != tt.want {
			t.Errorf("%d CPUs on nodes %v are in packages of %d, want %d", tt.cpus, tt.nodes, got, tt.want)
		}
	}
}
