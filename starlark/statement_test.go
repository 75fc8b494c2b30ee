package nvstar

import "testing"

func TestUnfinished(t *testing.T) {
	for _, test := range []struct {
		text string
		want bool
	}{
		{"x = 1", false},
		{"x = 1 # [", false},
		{"", false},
		{"x = [1,", true},
		{"x = [1,\n\n2", true},
		{"x = [1,\n2]", false},
		{"f(a,", true},
		{"f({\"a\": (1,", true},
		{"f({\"a\": (1,\n2)})", false},
		{`x = "["`, false},
		{`x = """a`, true},
		{"x = \"\"\"a\n\nb", true},
		{"x = \"\"\"a\n\nb\"\"\"", false},
		{`x = 1 + \`, true},
		{"x = 1 + \\\n2", false},
		{"1 +", false},
		{"x = 1]", false},
		{`x = "a`, false},
		{"for i in range(2):", true},
		{"for i in range(2): # all", true},
		{"for i in range(2):\n    f(i)", true},
		{"for i in range(2):\n    f(i,\n\n2)", true},
		{"for i in range(2):\n    f(i)\n", false},
		{"for i in range(2):\n    f(i)\n  ", false},
		{"for i in range(2): f(i)", false},
		{"if x: y", false},
		{"if f(1,\n2):\n    y", true},
		{"if f(1,\n2):\n    y\n", false},
		{"for i on range(2):", true},
		{"for i on range(2):\n    f(i)", true},
		{"for i on range(2):\n    f(i)\n", false},
	} {
		if got := Unfinished(test.text); got != test.want {
			t.Errorf("Unfinished(%q) = %v, want %v", test.text, got, test.want)
		}
	}
}

func TestIndentStatements(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"x = 1", "  x = 1"},
		{"for i in s:\n  f(i)", "  for i in s:\n    f(i)"},
		{"f(\"\"\"a\nb\n\"\"\",\nc)\nd", "  f(\"\"\"a\nb\n\"\"\",\n  c)\n  d"},
		{"a\r\rf(\"\"\"\n\"\"\")", "  a\n\n  f(\"\"\"\n\"\"\")"},
		{"a = r\"\"\"\n\"\"\"; b = b'''\n'''", "  a = r\"\"\"\n\"\"\"; b = b'''\n'''"},
	} {
		if got := IndentStatements(test.text, "  "); got != test.want {
			t.Errorf("IndentStatements(%q) = %q, want %q", test.text, got, test.want)
		}
	}
}
