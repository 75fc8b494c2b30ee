package px86

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

const page = "../../../docs/persistence.md"

// TestPage holds docs/persistence.md to the table of kinds and to the litmus tests. With NVLAB_UPDATE=1 it writes them there.
func TestPage(t *testing.T) {
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	want := string(text)
	for name, table := range map[string]string{"kinds": kindsTable(), "litmus": litmusTable()} {
		before, rest, begun := strings.Cut(want, "<!-- "+name+" -->\n")
		_, after, ended := strings.Cut(rest, "<!-- end -->")
		if !begun || !ended {
			t.Fatalf("%s has no place for the table %q", page, name)
		}
		want = before + "<!-- " + name + " -->\n" + table + "<!-- end -->" + after
	}
	if want == string(text) {
		return
	}
	if os.Getenv("NVLAB_UPDATE") == "" {
		t.Fatalf("%s is out of date: run NVLAB_UPDATE=1 go test ./nvdimm/persist/px86", page)
	}
	if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

func kindsTable() string {
	var b strings.Builder
	b.WriteString("| | stores that wait | non-temporal stores | CLFLUSH (Intel) | CLWB, CLFLUSHOPT |\n|---|---|---|---|---|\n")
	mark := map[bool]string{true: "yes"}
	for _, k := range Kinds() {
		if r := k.row(); r.store || r.combine || r.flush || r.flopt {
			name := "`" + r.name + "`"
			if k == LockElsewhere {
				name += " of other memory"
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", name, mark[r.store], mark[r.combine], mark[r.flush], mark[r.flopt])
		}
	}
	return b.String()
}

func litmusTable() string {
	var b strings.Builder
	b.WriteString("| | program | rules | power fails | memory holds one of |\n|---|---|---|---|---|\n")
	for _, test := range litmus {
		when := "after"
		if test.within {
			when = "within the last"
		}
		fmt.Fprintf(&b, "| %s | `%s` | %v | %s | %s |\n", test.why, test.program, test.rules, when, test.legal)
	}
	return b.String()
}
