package persist

import "iter"

// pageLines is how many lines a table keeps together: stores come in runs.
const pageLines = 64

// table has something for some lines, by number. Its zero value is empty.
type table[T any] struct {
	pages map[uint64]*page[T]
	last  *page[T] // that was looked at
	n     int
}

type page[T any] struct {
	number uint64
	at     [pageLines]*T
}

func (t *table[T]) page(n uint64) *page[T] {
	number := n / pageLines
	if t.last != nil && t.last.number == number {
		return t.last
	}
	p := t.pages[number]
	if p != nil {
		t.last = p
	}
	return p
}

// get is what the table has for line n, or nil.
func (t *table[T]) get(n uint64) *T {
	if p := t.page(n); p != nil {
		return p.at[n%pageLines]
	}
	return nil
}

// put gives line n, which has nothing, v.
func (t *table[T]) put(n uint64, v *T) {
	p := t.page(n)
	if p == nil {
		if t.pages == nil {
			t.pages = map[uint64]*page[T]{}
		}
		p = &page[T]{number: n / pageLines}
		t.pages[p.number], t.last = p, p
	}
	p.at[n%pageLines] = v
	t.n++
}

// drop takes what line n has away.
func (t *table[T]) drop(n uint64) {
	if p := t.page(n); p != nil && p.at[n%pageLines] != nil {
		p.at[n%pageLines] = nil
		t.n--
	}
}

// clear empties the table.
func (t *table[T]) clear() { *t = table[T]{} }

// all goes through the table, in any order.
func (t *table[T]) all() iter.Seq2[uint64, *T] {
	return func(yield func(uint64, *T) bool) {
		for number, p := range t.pages {
			for i, v := range p.at {
				if v != nil && !yield(number*pageLines+uint64(i), v) {
					return
				}
			}
		}
	}
}
