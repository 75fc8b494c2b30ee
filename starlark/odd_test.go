package nvstar

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// oddValues is a scenario that calls functions with values they do not expect.
const oddValues = `
def _nested(wrap):
    x = None
    for _ in range(6000):
        x = wrap(x)
    return x

def _circle():
    x = []
    x.append({"a": (x, struct(a = x))})
    return x

def _wide(): # one tuple, met 2**64 times
    x = ()
    for _ in range(64):
        x = (x, x)
    return x

def _try(name, call):
    def body():
        call()
        fail("it is accepted")
    check.fails(body, ".")

def test_odd(t):
    t.backend_file(path = "d.img", size = "4MiB")
    make = lambda: t.backend_ram(size = "4MiB")
    backend = t.backend_file(path = "d.img", size = "4MiB")
    vm = t.vm(slots = 4, maxmem = "4GiB")
    nvdimm = vm.plug(backend = backend, label_size = "128KiB")
    odd = [
        None, True, -1, 0, 1, 3, 1 << 31, 1 << 62, 1 << 64, 1.5, float("nan"), b"", b"x", [], [1], ["a"], ["true"], {}, {"a": 1}, (),
        "", "x", "1K", "-1", "64MiB", "100ms", "none", "store", "fit", "../x", "/tmp/x", "NFIT", "fence", "\x00", "\u00ff", "a" * 5000, "(",
        struct(), struct(a = 1), lambda: 1, lambda t: 1, range(5), set([1]), len, t, backend, vm, nvdimm, check,
        _nested(lambda x: [[[[[[[[[[x]]]]]]]]]]), _nested(lambda x: ((((((((((x,),),),),),),),),),)),
        _nested(lambda x: {"a": {"a": {"a": [struct(a = struct(a = (x,)))]}}}), _circle(), _wide(),
    ]
    for w in odd:
`

// TestOddArguments gives every call of the language every odd value, for each
// of its parameters: that is an error or it works, and never a bug.
func TestOddArguments(t *testing.T) {
	t.Setenv("NVLAB_MIRROR", "http://127.0.0.1:1/debian") // nothing is there: nothing is fetched
	valid := map[string]string{
		"backend": "make()", "path": `"d.img"`, "size": `"4MiB"`, "offset": "0", "length": "1", "data": `b"x"`, "snapshot": "backend.snapshot()",
		"command": `"true"`, "duration": `"1ms"`, "signature": `"NFIT"`, "event": `"store"`, "function": `"fit"`, "fn": "lambda: 1", "regexp": `"a"`,
		"nvdimms": "[nvdimm]", "nvdimm": "nvdimm", "bytes": "1",
	}
	end := []string{"t.skip", "t.xfail", "t.needs", "t.defer", "t.run", "vm.boot"} // what decides how the test ends, or needs a guest
	calls := 0
	text := new(strings.Builder)
	text.WriteString(oddValues)
	try := func(name, format string, args ...any) {
		calls++
		fmt.Fprintf(text, "        _try(%q, lambda: %s(%s))\n", name, name, fmt.Sprintf(format, args...))
	}
	for _, class := range []Topic{tClass.topic(), backendClass.topic(), vmClass.topic(), dimmClass.topic(), checkClass.topic()} {
		for _, member := range class.Subs {
			if member.Sig == "" || slices.Contains(end, member.Name) {
				continue
			}
			try(member.Name, "w")
			try(member.Name, "w, w")
			params := parseSignature(member.Sig).params
			for _, p := range params {
				args := p.name + " = w"
				for _, other := range params {
					if other.fallback == nil && other.name != p.name {
						args += fmt.Sprintf(", %s = %s", other.name, cmp.Or(valid[other.name], "1"))
					}
				}
				try(member.Name, "%s", args)
			}
		}
	}
	path := filepath.Join(t.TempDir(), "odd.star")
	if err := os.WriteFile(path, []byte(text.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	file, failure := NewLoader().Load(t.Context(), path)
	if failure != nil {
		t.Fatal(failure.Text)
	}
	if outcome, _ := runTest(t, file.Tests[0]); outcome != "passes" || calls < 150 {
		t.Errorf("%d calls with each odd value: %s", calls, outcome)
	}
}
