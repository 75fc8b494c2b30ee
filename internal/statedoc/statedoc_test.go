package statedoc

import (
	"reflect"
	"slices"
	"testing"
)

type part struct {
	saved  plainData
	other  *part2
	lock   chan int
	cached int
}

type plainData struct {
	N    int
	List [][]byte
}

type part2 struct{ f func() }

var _ = part{saved: plainData{}, other: &part2{f: nil}, lock: nil, cached: 0}

const header = "# Other\n| `statedoc.part.nothing` | state | |\n# Parts\n"

func TestProblems(t *testing.T) {
	for _, c := range []struct {
		name, rows string
		want       []string
	}{
		{"all is well",
			"| `statedoc.part.saved`, `statedoc.part.other` | state | |\n" +
				"| `statedoc.part.lock` | wiring | a lock |\n| `statedoc.part.cached` | derived | of it |\n| `statedoc.part2.f` | wiring | to it |\n",
			nil},
		{"fields without a row, one of a struct that is state",
			"| `statedoc.part.saved`, `statedoc.part.other` | state | |\n| `statedoc.part.lock` | wiring | a lock |\n",
			[]string{"there is no row for statedoc.part2.f: is it state, or derived, given or wiring?",
				"there is no row for statedoc.part.cached: is it state, or derived, given or wiring?"}},
		{"a row without a field, no reasons, no kind, two rows",
			"| `statedoc.part.saved`, `statedoc.part.saved` | state | |\n| `statedoc.part.other` | wiring | |\n" +
				"| `statedoc.part.lock` | state | |\n| `statedoc.part.cached` | cache | fast |\n| `statedoc.part.gone` | state | |\n",
			[]string{"there are two rows for statedoc.part.saved", "`statedoc.part.other` is wiring, and it is not said why",
				"`statedoc.part.cached` is \"cache\", want state, derived, given or wiring",
				"statedoc.part.lock is state, of type chan int, and it is not said how that is saved",
				"\"Parts\" has a row for statedoc.part.gone, which is not there"}},
	} {
		if got := problems(header+c.rows, "Parts", reflect.TypeFor[part]()); !slices.Equal(got, c.want) {
			t.Errorf("%s: problems are\n%q, want\n%q", c.name, got, c.want)
		}
	}
	if got := problems("", "Parts"); len(got) != 1 {
		t.Errorf("an empty page has the problems %q, want one: no table", got)
	}
}
