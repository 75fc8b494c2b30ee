package nvstar

import (
	"strings"
	"testing"
)

func TestClipped(t *testing.T) {
	short := "one\ntwo\n"
	if got := clipped(short); got != short {
		t.Errorf("clipped(%q) = %q, want it as it is", short, got)
	}
	got := clipped("head\n" + strings.Repeat("x", 12<<20) + "\ntail")
	if len(got) > lineLimit+200 || !strings.HasPrefix(got, "head\nxxx") || !strings.Contains(got, "bytes are left out") || !strings.HasSuffix(got, "xxx\ntail") {
		t.Errorf("a line of 12 MiB is clipped to %d bytes, want about %d of its beginning and end", len(got), lineLimit)
	}
	got = clipped("head\n" + strings.Repeat("x\n", 1<<20) + "tail")
	if strings.Count(got, "\n") > linesLimit+1 || !strings.HasPrefix(got, "head\n") || !strings.HasSuffix(got, "\ntail") {
		t.Errorf("a million lines are clipped to %d, want %d and a note", strings.Count(got, "\n"), linesLimit)
	}
}

func TestAround(t *testing.T) {
	line := strings.Repeat("a", 5000) + "X" + strings.Repeat("b", 5000)
	shown, col := around(line, 5001)
	if len(shown) > 3*columnsAround || shown[col-1] != 'X' {
		t.Errorf("around(line, 5001) = %q, %d, want the part of the line whose column that is X", shown, col)
	}
	for _, col := range []int{1, 10001, 20000, 0} {
		around(line, col)
	}
}
