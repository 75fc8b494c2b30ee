package pages

import (
	"slices"
	"testing"
)

func TestSet(t *testing.T) {
	s := NewSet(200*Size + 1)
	s.Add(200)
	s.AddRange(3*Size-1, 2)
	s.AddRange(7*Size, 0)
	s.Add(200)
	if got, want := slices.Collect(s.All()), []uint64{2, 3, 200}; !slices.Equal(got, want) {
		t.Errorf("the set holds %v, want %v", got, want)
	}
	if !s.Has(3) || s.Has(7) || s.Len() != 3 {
		t.Errorf("Has(3) = %v, Has(7) = %v, Len = %d, want true, false, 3", s.Has(3), s.Has(7), s.Len())
	}
	s.Clear()
	if s.Has(2) || s.Has(200) || s.Len() != 0 {
		t.Errorf("after Clear: Has(2) = %v, Has(200) = %v, Len = %d, want an empty set", s.Has(2), s.Has(200), s.Len())
	}
	for range s.All() {
		t.Error("All of an empty set yields a page")
	}
}
