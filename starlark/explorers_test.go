package nvstar

import (
	"context"
	"testing"
)

// TestExplores says of which tests each shard has a part.
func TestExplores(t *testing.T) {
	loader := NewLoader()
	loader.Texts = map[string]string{"x.star": `
def _all(trace):
    return trace.explore(len)

def _whole(trace):
    return trace.explore(len, share = False)

def test_none(t):
    pass

def test_here(t):
    t.vm().trace("x").explore(len, depth = 1)

def test_in_a_function(t):
    _all(t.vm().trace("x"))

def test_whole(t):
    t.vm().trace("x").explore(len, share = False)

def test_whole_in_a_function(t):
    _whole(t.vm().trace("x"))

def test_both(t):
    trace = t.vm().trace("x")
    trace.explore(trace.explore(len), share = False)

def test_said_later(t, share = False):
    t.vm().trace("x").explore(len, share = share)
`}
	f, failure := loader.Load(context.Background(), "x.star")
	if failure != nil {
		t.Fatal(failure)
	}
	want := map[string]bool{"test_none": false, "test_here": true, "test_in_a_function": true, "test_whole": false,
		"test_whole_in_a_function": false, "test_both": true, "test_said_later": true}
	for _, test := range f.Tests {
		if test.Explores != want[test.Name] {
			t.Errorf("%s counts as one that explores: %v, want %v", test.Name, test.Explores, want[test.Name])
		}
	}
	if len(f.Tests) != len(want) {
		t.Errorf("%d tests, want %d", len(f.Tests), len(want))
	}
}
