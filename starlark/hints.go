package nvstar

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"go.starlark.net/starlark"

	"nvlab/internal/spell"
	"nvlab/starlark/guard"
)

// A hint tells somebody who comes from Python what Starlark has instead.
type hint struct {
	pattern *regexp.Regexp // matched against the error's text
	source  *regexp.Regexp // and the source line, if not nil
	text    string
}

var loadHints = []hint{
	{regexp.MustCompile(`got (string|bytes) literal, want`), regexp.MustCompile(`\b[fF][rR]?["']|\b[rR][fF]["']`),
		`Starlark has no f-strings: write "%s" % x or "{}".format(x)`},
	{regexp.MustCompile(`.`), regexp.MustCompile(`^\s*assert\b|\bassert\.`),
		`the checks are called check: check.eq(got, want), check.true(cond)`},
	{regexp.MustCompile(`while loops|got while`), nil,
		`Starlark has no while: write for _ in range(n), with break`},
	{regexp.MustCompile(`(for loop|if statement) not within a function`), nil,
		`at the top level stand only def, load and assignments: move it into a function, or use a comprehension`},
	{regexp.MustCompile(`got import|got from`), nil,
		`Starlark has no import: load("./other.star", "name")`},
	{regexp.MustCompile(`got (try|except|raise|finally)\b`), nil,
		`Starlark has no exceptions: check.fails(fn, regexp) catches an error, fail(message) raises one`},
	{regexp.MustCompile(`got with\b`), nil,
		`Starlark has no with: everything ends with its test; t.defer(fn) does more`},
	{regexp.MustCompile(`got del\b`), nil,
		`Starlark has no del: d.pop(key) takes an entry out of a dict, l.pop(i) an element out of a list`},
	{regexp.MustCompile(`got (global|nonlocal)\b`), nil,
		`Starlark has no global: what a function learns it returns, or puts into a list or dict that it is given`},
	{regexp.MustCompile(`got (class|yield|async|await)\b`), nil,
		`Starlark has no such statement: struct(a = 1) makes a value with attributes`},
	{regexp.MustCompile(`got is\b`), nil, `Starlark has no "is": write ==`},
	{regexp.MustCompile(`cannot reassign (global|top-level)`), nil,
		`a name at the top level is bound once`},
	{regexp.MustCompile(`undefined: (vm|disk|backend|backend_file|backend_ram)\b`), nil,
		`machines and backends hang off the test: t.vm(...), t.backend_file(...)`},
	{regexp.MustCompile(`undefined: (nvlab|testing|os|re|time|random|pytest|open)\b`), nil,
		`predeclared are check, cases, struct, json, KiB, MiB, GiB and TiB (see nvlab doc)`},
	{regexp.MustCompile(`undefined: t$`), nil,
		`t is what a test is called with: def test_x(t)`},
	{regexp.MustCompile(`got ':', want`), regexp.MustCompile(`:=`),
		`Starlark has no :=: assign on a line of its own, n = x`},
	{regexp.MustCompile(`unexpected input character '@'`), nil,
		`Starlark has no decorators: call the function by name, t.skip(reason) and t.needs(...) within the test; a parameter with cases(...) makes a test of each value`},
	{regexp.MustCompile(`got '\*\*'`), nil,
		`Starlark has no power: 2**n is 1 << n`},
	{regexp.MustCompile(`got identifier`), regexp.MustCompile(`\b\d+[KMGT](i?B)?\b`),
		`a size is "64MiB" or 64 * MiB`},
	{regexp.MustCompile(`invalid escape sequence`), nil,
		`write r"..." for a regular expression, or \\ for a backslash`},
	{regexp.MustCompile(`names with leading underscores`), nil,
		`a name that starts with _ stays within its file`},
}

// indentError is what the parser says of lines whose margins do not fit.
var indentError = regexp.MustCompile(`^unindent does not match|got (indent|outdent)\b|want (indent|outdent)\b`)

var runHints = []hint{
	{regexp.MustCompile(`cannot .* frozen (list|set)|cannot .* (frozen )?hash table|frozen (dict|list|set)`), nil,
		`values at the top level are frozen once their file is loaded: copy it with list(x) or dict(x), and keep state in the test`},
	{regexp.MustCompile(`unknown conversion %`), nil,
		`Starlark's % knows %s %r %d %x %o %c %e %f %g, without widths; %% is a percent sign`},
	{regexp.MustCompile(`^format: (format spec features not supported|unknown conversion)`), nil,
		`Starlark's format knows {}, {0}, {name}, {!r} and {!s}, without widths; x + " " * (5 - len(x)) pads, "%x" % n is hexadecimal`},
	{regexp.MustCompile(`got \w+, want function$`), nil,
		`pass the function itself and do not call it: t.defer(vm.kill), check.fails(lambda: vm.run("x"), "text")`},
	{regexp.MustCompile(`^NoneType value is not iterable|^unhandled index operation NoneType|^got NoneType, want iterable`), nil, noneHint},
	{regexp.MustCompile(`^got (string|int|bytes) in sequence assignment`), nil,
		`each element is one value; keys and values of a dict are in d.items(), numbers and elements of a list in enumerate(l)`},
	{regexp.MustCompile(`no slots where allocated|slots specified but no max-size|maximum memory size .* is equal to the initial`), nil,
		`t.vm(slots = 1, maxmem = "4GiB") has room for one NVDIMM: maxmem holds the memory and all NVDIMMs`},
	{regexp.MustCompile(`called recursively`), nil,
		`Starlark has no recursion: write a loop over a list of what is left to do`},
	{regexp.MustCompile(`unknown binary op: string \+ |unknown binary op: \w+ \+ string`), nil,
		`a string joins with strings only: str(x), or "%s" % x`},
	{regexp.MustCompile(`unknown binary op: (bytes \S+ string|string \S+ bytes)`), nil,
		`text and bytes differ: write b"..." for bytes; result.stdout is text, result.stdout_bytes bytes`},
}

func loadHint(msg, line string) string {
	for _, h := range loadHints {
		if h.pattern.MatchString(msg) && (h.source == nil || h.source.MatchString(line)) {
			return h.text
		}
	}
	if name, ok := strings.CutPrefix(msg, "undefined: "); ok && !strings.Contains(msg, "did you mean") {
		known := slices.DeleteFunc(slices.Concat(universe().Keys(), starlark.Universe.Keys()), guard.Hidden)
		if near := spell.Nearest(name, known); near != "" {
			return "did you mean " + near + "?"
		}
	}
	return ""
}

// entryByAttribute is the error of x.dev where x["dev"] is meant.
var entryByAttribute = regexp.MustCompile(`^(dict|list) has no \.(\w+) field or method`)

func runHint(msg string) string {
	head, _, _ := strings.Cut(msg, "\n")
	if m := entryByAttribute.FindStringSubmatch(head); m != nil && !strings.Contains(head, "did you mean") {
		if m[1] == "list" {
			return fmt.Sprintf("it is a list: take an element first, as in [0][%q]", m[2])
		}
		return fmt.Sprintf("an entry of a dict is [%q]", m[2])
	}
	for _, h := range runHints {
		if h.pattern.MatchString(head) {
			return h.text
		}
	}
	return ""
}
