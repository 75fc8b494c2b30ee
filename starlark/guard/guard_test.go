package guard

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	jsonlib "go.starlark.net/lib/json"
	"go.starlark.net/starlark"
	"go.starlark.net/starlarkstruct"
	"go.starlark.net/syntax"
)

// run executes a file's text: guarded, or as the library does.
func run(guarded bool, text string, extra starlark.StringDict) (starlark.StringDict, error) {
	options := &syntax.FileOptions{Set: true, TopLevelControl: true, GlobalReassign: true}
	names := starlark.StringDict{"struct": starlark.NewBuiltin("struct", starlarkstruct.Make), "json": jsonlib.Module}
	file, err := options.Parse("x.star", text, 0)
	if err != nil {
		return nil, err
	}
	if guarded {
		maps.Copy(names, Universe())
		if err := Tree(file); err != nil {
			return nil, err
		}
		Guard(file)
	}
	maps.Copy(names, extra)
	program, err := starlark.FileProgram(file, names.Has)
	if err != nil {
		return nil, err
	}
	thread := new(starlark.Thread)
	thread.SetMaxExecutionSteps(100_000_000)
	globals, err := program.Init(thread, names)
	if err != nil {
		return nil, err
	}
	if _, err := Frozen(globals); guarded && err != nil {
		return nil, err
	}
	globals.Freeze()
	return globals, nil
}

// deep are values that nest without end, each made by a loop in the language.
const deep = `
def lists(n):
    x = []
    for _ in range(n):
        x = [x]
    return x

def tuples(n):
    x = ()
    for _ in range(n):
        x = (x,)
    return x

def dicts(n):
    x = {}
    for _ in range(n):
        x = {"a": x}
    return x

def keys(n):
    x = ()
    for _ in range(n // 2000):
        x = (x,)
    return {x: 1}

def structs(n):
    x = struct()
    for _ in range(n):
        x = struct(a = x)
    return x

def mixed(n):
    x = None
    for _ in range(n // 4):
        x = struct(a = [({"k": x},)])
    return x

def closures(n):
    x = None
    for _ in range(n):
        x = _closure(x)
    return x

def _closure(x):
    def f(y = x):
        return x
    return f

def methods(n):
    x = []
    for _ in range(n):
        x = [x.append]
        x = [x]
    return x

def cycle(_):
    x = []
    x.append(struct(a = x))
    return x

def loop(_):
    x = []
    x.append(x)
    x.append({"x": x})
    return x

def wide_tuple(_): # one tuple, met 2**64 times
    x = ()
    for _ in range(64):
        x = (x, x)
    return x

def wide_list(_):
    x = []
    for _ in range(64):
        x = [x, x]
    return x

def wide_struct(_):
    x = 1
    for _ in range(64):
        x = struct(a = x, b = x)
    return x

def broad(_): # few levels, and 10**18 leaves
    x = 0
    for _ in range(6):
        x = [x] * 1000
    return x

makers = [lists, tuples, dicts, keys, structs, mixed, closures, methods, cycle, loop, wide_tuple, wide_list, wide_struct, broad]
`

// walks are all that may be done with a value x and another of its kind y.
var walks = strings.Split(strings.TrimSpace(`
str(x)
repr(x)
"%s" % x
"%s" % (x,)
"%r and %r" % (x, y)
"%(k)s" % {"k": x}
"%d" % x
"{}".format(x)
"{0} {0!r} {k}".format(x, k = y)
print(x)
fail(x)
x == y
x != y
x < y
x <= y
x > y
x >= y
[x] == [y]
x in [y]
x in (y,)
x not in [y]
x in {}
x in {1: 2}
x in set([1])
{x: 1}
{k: 1 for k in [x]}
{}[x]
{1: 2}[x]
{}.get(x)
{}.pop(x, 1)
{}.setdefault(x, 1)
{}.update([(x, 1)])
dict([(x, 1)])
dict([[x, 1]])
dict(a = x)
set([x])
set([1]).union([x])
set([1]).add(x)
set([1]).discard(x)
set([1]).remove(x)
set([1]).update([x])
set([1]).intersection([x])
set([1]).difference([x])
set([1]).symmetric_difference([x])
set([1]).issubset([x])
set([1]).issuperset([x])
set([1]) | set([x])
[1].index(x)
[y].index(x)
[1, y].remove(x)
[1].extend(x)
[y] + [x]
(y,) * 3
sorted([x, y])
sorted([x, y], key = lambda v: 1)
sorted([1, 2], key = lambda v: x)
sorted([1, 2], lambda v: x)
min(1, 2, key = lambda v: x)
min(x, y)
max([x, y])
min([x, y], key = lambda v: v)
any([x])
all([x, y])
len([x])
list(x)
tuple(x)
list(reversed([x]))
zip([x], [y])
enumerate([x])
json.encode(x)
json.encode_indent(x)
json.encode([x])
hash(x)
int(x)
float(x)
bytes(x)
bool(x)
type(x)
dir(x)
hasattr(x, "a")
getattr({}, "get")(x)
getattr("{}", "format")(x)
"".join([x])
"a".replace(x, y)
struct(a = x)
struct(a = x) == struct(a = y)
str(struct(a = x))
{struct(a = x): 1}
{(1, x): 2}
[v for v in [x] if v == y]
(lambda *a: a)(*[x])
(lambda **a: str(a))(k = x)
[x][0] == [y][0]
{"a": x} | {"a": y}
x + x
x * 3
x | y
x[0]
x[-1:]
range(x)
abs(x)
chr(x)
ord(x)
`), "\n")

// TestDeepValues does everything that there is to do with values that are
// nested very deep, or met very often. It is an error or it works;
// what is left behind is a process that goes on.
func TestDeepValues(t *testing.T) {
	t.Parallel()
	globals, err := run(true, deep, nil)
	if err != nil {
		t.Fatal(err)
	}
	refused, shift, depth := 0, rand.IntN(8), 200_000
	if testing.Short() {
		depth = 20_000
	}
	for maker := range starlark.Elements(globals["makers"].(*starlark.List)) {
		value := func() starlark.Value {
			v, err := starlark.Call(new(starlark.Thread), maker, starlark.Tuple{starlark.MakeInt(depth)}, nil)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
		x, y := value(), value()
		wide := strings.HasPrefix(maker.(*starlark.Function).Name(), "wide")
		for i, walk := range append(walks, "x", "lambda: x", "lambda v = x: v") {
			if (wide || testing.Short()) && i%8 != shift { // each of them takes as long as it may
				continue
			}
			began := time.Now()
			_, err := run(true, "def f(x, y):\n    return "+walk+"\nr = f(x, y)\n", starlark.StringDict{"x": x, "y": y})
			if err != nil && strings.Contains(err.Error(), "nested more than") {
				refused++
			}
			if took := time.Since(began); took > 20*time.Second {
				t.Errorf("%s of %s took %v", walk, maker, took)
			}
		}
	}
	if !testing.Short() && refused < 250 {
		t.Errorf("%d walks of %d were refused for their depth, want some hundreds", refused, len(walks))
	}
}

// randomValue makes a value of random shape, which may be very deep.
func randomValue(rng *rand.Rand, budget int) starlark.Value {
	switch rng.IntN(14) {
	case 0:
		return starlark.None
	case 1:
		return starlark.MakeInt64(rng.Int64())
	case 2:
		return starlark.String(strings.Repeat("x", rng.IntN(20)))
	case 3:
		return starlark.Float(rng.NormFloat64())
	case 4:
		return starlark.Bytes("b")
	}
	x := starlark.Value(starlark.MakeInt(rng.IntN(3)))
	if budget > 0 {
		x = randomValue(rng, budget-1)
	}
	wrap := func(kind int) {
		switch kind {
		case 0:
			x = starlark.NewList([]starlark.Value{x})
		case 1:
			x = starlark.Tuple{x}
		case 2:
			d := starlark.NewDict(1)
			d.SetKey(starlark.String("k"), x)
			x = d
		case 3:
			x = starlarkstruct.FromStringDict(starlarkstruct.Default, starlark.StringDict{"a": x})
		case 4:
			x = starlark.Tuple{x, x}
		case 5:
			x = starlark.NewList([]starlark.Value{x, randomValue(rng, budget/2)})
		}
	}
	times := []int{1, 1, 2, 5, 30, 1000, 3000, 300_000}[rng.IntN(8)]
	if kind := rng.IntN(6); rng.IntN(2) == 0 {
		for range times {
			wrap(kind)
			if kind >= 4 && times > 100 {
				kind = 1
			}
		}
	} else {
		for range times {
			wrap(rng.IntN(4))
		}
	}
	return x
}

// FuzzWalk walks values of random depth through every operator and built-in:
// whatever comes of it, it comes soon and the process lives.
func FuzzWalk(f *testing.F) {
	for seed := range uint64(30) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		rng := rand.New(rand.NewPCG(seed, 1))
		values := starlark.StringDict{"x": randomValue(rng, 3), "y": randomValue(rng, 3)}
		if rng.IntN(3) == 0 {
			values["y"] = values["x"]
		}
		for range 10 {
			walk := walks[rng.IntN(len(walks))]
			run(true, "def f():\n    return "+walk+"\nr = f()\n", values)
		}
		Brief(values["x"], 100)
	})
}

// growths are single operations that make much of little, with what the error
// says.
var growths = map[string]string{
	"_grow(2, 60, lambda x: (x + 1) * (x + 1))":                   "at most 1048576 bits",
	"_grow(1, 100000, lambda x: x << 511)":                        "at most 1048576 bits",
	"1 << (1 << 40)":                                              "out of range",
	"1 << 100000":                                                 "shift count too large",
	`int("9" * 100000000)`:                                        "at most 1048576 bits",
	`json.decode("9" * 100000000)`:                                "at most 1048576 bits",
	`json.decode("[" * 4000000)`:                                  "nested 4000000 deep: at most 1000",
	`json.decode("{\"a\":" * 1000000)`:                            "nested 1000000 deep: at most 1000",
	`json.decode("[" + "0," * 20000000 + "0]")`:                   "more than 16777216 values",
	`_grow("x" * 1000, 60, lambda s: s + s)`:                      "at most 268435456 (256 MiB) in one step",
	`_grow(b"x" * 1000, 60, lambda s: s + s)`:                     "at most 268435456",
	`_grow([1], 60, lambda s: s + s)`:                             "at most 16777216",
	`_grow((1,), 60, lambda s: s + s)`:                            "at most 16777216",
	`"x" * 1000000000`:                                            "at most 268435456",
	`1000000000 * b"x"`:                                           "at most 268435456",
	`[None] * 1000000000`:                                         "at most 16777216",
	`(1, 2) * (1 << 62)`:                                          "too many elements",
	`"x" * (1 << 70)`:                                             "too many elements",
	`("x" * 20000).replace("", "y" * 20000)`:                      "at most 268435456",
	`("y" * 20000).join(["x"] * 20000)`:                           "at most 268435456",
	`("{0}" * 20000).format("x" * 20000)`:                         "at most 268435456",
	`("%(a)s" * 20000) % {"a": "x" * 20000}`:                      "at most 268435456",
	`"%s" * 1000 % tuple(["x" * 1000000] * 1000)`:                 "at most 268435456",
	`str(["x" * 1000000] * 1000)`:                                 "at most 268435456",
	`repr("\x00" * 100000000)`:                                    "at most 268435456",
	`json.encode(["x" * 1000000] * 1000)`:                         "at most 268435456",
	`json.encode(range(1 << 40))`:                                 "more than 4194304 values",
	`json.indent("[" * 900 + "0," * 1000, indent = "x" * 100000)`: "at most 268435456|too long",
	`json.encode_indent([[1]] * 100000, indent = "x" * 100000)`:   "at most 268435456|too long",
	`list(range(1 << 40))`:                                        "at most 16777216",
	`sorted(range(1 << 40))`:                                      "at most 16777216",
	`list(("x" * 100000000).elems())`:                             "at most 16777216",
	`list(bytes("x" * 100000000).elems())`:                        "at most 16777216",
	`set(range(1 << 40))`:                                         "at most 16777216",
	`[].extend(range(1 << 40))`:                                   "at most 16777216",
	`_extend(range(1 << 40))`:                                     "at most 16777216",
	`_extend_at(range(1 << 40))`:                                  "at most 16777216",
	`_double_at("x" * 1000)`:                                      "at most 268435456",
	`_square_at(3)`:                                               "at most 1048576 bits",
	`(lambda *a: len(a))(*range(1 << 40))`:                        "at most 16777216",
	`("x," * 60000000).split(",")`:                                "at most 16777216",
	`("x " * 60000000).split()`:                                   "at most 16777216",
	`("x\n" * 60000000).splitlines()`:                             "at most 16777216",
	`set([1]).union(range(1 << 40))`:                              "at most 16777216",
	`max(range(1 << 40))`:                                         "at most 16777216",
	`max(*range(1 << 40))`:                                        "at most 16777216",
	`zip(range(1 << 40), [1])`:                                    "at most 16777216",
}

const growing = `
def _grow(x, n, f):
    for _ in range(n):
        x = f(x)
    return x

def _extend(more):
    x = []
    x += more

def _extend_at(more):
    x = [[]]
    x[(lambda: 0)()] += more

def _double_at(s):
    x = {"a": s}
    for _ in range(60):
        (lambda: x)()[(lambda: "a")()] += x["a"]

def _square_at(n):
    x = {"a": n}
    for _ in range(60):
        x["a"] *= x["a"]
`

// TestGrowth makes results without bound in one operation each.
func TestGrowth(t *testing.T) {
	t.Parallel()
	for i, call := range slices.Sorted(maps.Keys(growths)) {
		if testing.Short() && i%4 != 0 {
			continue
		}
		began := time.Now()
		_, err := run(true, growing+"\nr = "+call+"\n", nil)
		if err == nil || !matched(err.Error(), growths[call]) {
			t.Errorf("%s = error %v, want one that says %q", call, err, growths[call])
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("%s took %v", call, took)
		}
	}
}

func matched(text, wants string) bool {
	for want := range strings.SplitSeq(wants, "|") {
		if strings.Contains(text, want) {
			return true
		}
	}
	return false
}

// same are programs that mean the same with guards and without.
var same = strings.Split(strings.TrimSpace(`
r = 1 + 2 * 3 - 4 // 5 % 6 | 7 & 8 ^ 9 << 2 >> 1
r = [1, 2] + [3] * 2 + list((4, 5))
r = "a" + "b" * 3 + "%s-%d" % ("x", 5)
r = {1: 2, "a": [3], (1, 2): {}}[(1, 2)]
r = {k: v for k, v in [(1, 2), ("a", "b")] if k != 1}
r = [x * y for x in range(5) for y in range(x) if x + y > 3]
r = 3 in [1, 2, 3] and 4 not in (1, 2) or "b" in "abc"
r = [1 < 2, 2 <= 2, "a" > "b", [1] >= [1, 2], 1 == 1.0, None != None]
r = "a,b,c".split(",") + "x".join(["1", "2"]).split()
r = "{} {x}".format(1, x = [2]) + "aXbX".replace("X", "-")
r = {"a": 1}.get("a") + {"a": 1}.pop("a") + {}.setdefault("k", 5)
r = sorted([3, 1, 2], reverse = True) + sorted({"b": 1, "a": 2})
r = (lambda a, b = 2, *c, **d: [a, b, c, d])(1, *[2, 3], **{"k": 4})
r = [min(3, 1), max([1, 5]), len("abc"), str(1.5), repr("x"), int("12"), bool([])]
r = json.decode("[1, {\"a\": 2.5}, null]") + [json.encode({"b": [1]}), json.indent("[1]")]
r = set([1, 2]) | set([3]) & set([3, 4])
r = "abc"[1] + "abc"[-1:] + "abcdef"[::2]
r = 1 if 2 > 3 else "no"
r = not 1 == 2
r = -(1 + 2) + ~3
r = [sorted(["b", "A"], key = lambda s: s.lower()), sorted([1, 2], lambda x: -x, True), max([1, -5], key = abs), min(1, -5, key = abs)]
r = sorted([1, 2], key = lambda x: fail(x))
r = sorted([1, 2], key = 5)
x = [1]; y = x; x += [2]; r = (x, y)
x = [[1], [2]]; x[0] += (3, 4); x[1][0] *= 5; r = x
x = {"a": 1}; x["a"] += 1; x["b"] = x["a"] << 3; r = x
x = {"a": 1}; x |= {"b": 2}; r = x
x = 5; x *= 2; x //= 3; x %= 2; x <<= 4; x -= 1; r = x
x = "%s"; x %= "y"; r = x
x, (y, z) = 1, (2, 3); r = x + y + z
a = [0, 0]; a[0], a[1] = 1, 2; r = a
def f(a, b = 1 + 1, *, c = 2 * 3): return a + b + c; r = f(1)
r = [getattr("x", "upper")(), getattr([], "nothing", 5), hasattr("", "join")]
r = struct(a = 1) == struct(a = 1) and struct(a = [1, {}]).a == [1, {}]
r = type("x".join) + str("x".join) + str([].append)
r = [f([2, 1]) for f in [sorted, list, tuple, len, max, str]]
r = "x".join
r = 1 + "a"
r = "a" + 1
r = [] + ()
r = {}["k"]
r = {[]: 1}
r = {1: 1, 1: 2}
r = [1][5]
r = "%d" % "x"
r = "%s %s" % 1
r = "a" < 1
r = 5 in 5
r = 1 // 0
r = 1 << -1
r = 1 << 600
r = "a" * "b"
r = undefined_name
r = "x".nothing
r = None.get
r = [].index(1)
r = {}.pop("k")
r = ",".join([1])
r = "{}".format()
r = int("x")
r = fail("why", 1)
r = (lambda: 1)(2)
r = (lambda a: a)(a = 1, a = 2)
x = 1; x[0] += 1
x = None; x += 1
x = (1,); x[0] += "a"
x = {}; x["k"] += "a" + "b"
x = [1]; x += 5
r = [x for x in 5]
r = sorted([1, "a"])
r = max([])
r = dict([(1, 2, 3)])
r = dict([1])
r = set(5)
`), "\n")

// TestSameMeaning runs programs with and without guards: results are equal, and
// errors with their positions.
func TestSameMeaning(t *testing.T) {
	describe := func(guarded bool, text string) string {
		globals, err := run(guarded, text, nil)
		if err == nil {
			return fmt.Sprint("r = ", globals["r"])
		}
		ev, ok := err.(*starlark.EvalError)
		if !ok {
			return err.Error()
		}
		places := ""
		for _, frame := range ev.CallStack {
			if Hidden(frame.Name) {
				continue
			}
			places += fmt.Sprintf(" %s@%s", frame.Name, frame.Pos)
		}
		return err.Error() + places
	}
	for _, line := range same {
		text := strings.ReplaceAll(line, "; ", "\n")
		if with, without := describe(true, text), describe(false, text); with != without {
			t.Errorf("%s\nwith guards     %s\nwithout guards  %s", line, with, without)
		}
	}
}

// TestDeepSource loads files whose syntax is as deep, or as long, as a file may
// be: an error of the file, or it runs.
func TestDeepSource(t *testing.T) {
	t.Parallel()
	lines := func(n int, format string) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(strings.ReplaceAll(format, "N", fmt.Sprint(i)))
		}
		return b.String()
	}
	for name, text := range map[string]string{
		"terms":      "x = 1" + strings.Repeat("+1", 2_000_000),
		"some terms": "x = 1" + strings.Repeat("+1", MaxTree-10),
		"compared":   "x = " + strings.Repeat("a and ", 600_000) + "a",
		"dots":       "x = a" + strings.Repeat(".b", 2_000_000),
		"calls":      "x = a" + strings.Repeat("()", 2_000_000),
		"indices":    "x = a" + strings.Repeat("[0]", 1_000_000),
		"parens":     "x = " + strings.Repeat("(", 2_000_000) + strings.Repeat(")", 2_000_000),
		"lists":      "x = " + strings.Repeat("[", 2_000_000),
		"dicts":      "x = " + strings.Repeat("{1:", 1_000_000),
		"not":        "x = " + strings.Repeat("not ", 1_000_000) + "1",
		"minus":      "x = " + strings.Repeat("-", 4_000_000) + "1",
		"lambdas":    "x = " + strings.Repeat("lambda:", 500_000) + "1",
		"ternaries":  "x = " + strings.Repeat("1 if a else ", 300_000) + "1",
		"blocks":     nested(2500, "if 1:"),
		"functions":  nested(2500, "def f():"),
		"elif":       "def f(a):\n if a: pass\n" + lines(200_000, " elif a: pass\n"),
		"some elif":  "def f(a):\n if a: pass\n" + lines(MaxTree/2, " elif a: pass\n") + "f(1)\n",
		"ifs":        "def f(a):\n" + lines(400_000, " if a: a\n") + "f(1)\n",
		"loops":      "def f(a):\n" + lines(250_000, " for x in a: a\n"),
		"table":      "x = [" + strings.Repeat("1,", 2_000_000) + "]",
		"statements": lines(250_000, "xN = N\n"),
		"digits":     "x = " + strings.Repeat("9", 900_000),
		"text":       `x = "` + strings.Repeat("x", 4_000_000) + `"`,
		"clauses":    "x = [1 " + strings.Repeat("for a in [] ", 300_000) + "]",
		"chain":      "def f0(): return 1\n" + chain(20_000) + "f20000()\n",
	} {
		t.Run(name, func(t *testing.T) {
			if testing.Short() && (name == "digits" || name == "chain") {
				t.Skip("it takes seconds")
			}
			if len(text) > MaxSource {
				text = text[:MaxSource]
			}
			began := time.Now()
			_, err := run(true, text, nil)
			if strings.HasPrefix(name, "some ") && err != nil {
				t.Errorf("%s: %v, want no error", name, err)
			}
			if took := time.Since(began); took > time.Minute {
				t.Errorf("it took %v", took)
			}
		})
	}
}

func nested(n int, head string) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.Repeat(" ", i) + head + "\n")
	}
	return b.String() + strings.Repeat(" ", n) + "pass\n"
}

func chain(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "def f%d(): return f%d()\n", i+1, i)
	}
	return b.String()
}

// TestRepeatedValues counts a value that a list or a tuple holds many times as it
// counts as many equal ones.
func TestRepeatedValues(t *testing.T) {
	leaf := func() starlark.Value {
		d := starlark.NewDict(1)
		d.SetKey(starlark.String("k"), starlark.Tuple{starlark.MakeInt(1), starlark.None})
		return starlark.NewList([]starlark.Value{starlark.String("text"), d, starlark.Tuple{d, d}})
	}
	for _, tuple := range []bool{false, true} {
		var nest func(repeat bool, levels int) starlark.Value
		nest = func(repeat bool, levels int) starlark.Value {
			if levels == 0 {
				return leaf()
			}
			list := []starlark.Value{nest(repeat, levels-1)}
			for range 6 {
				if repeat {
					list = append(list, list[0])
				} else {
					list = append(list, nest(repeat, levels-1))
				}
			}
			if tuple {
				return starlark.Tuple(list)
			}
			return starlark.NewList(list)
		}
		for how := asText; how <= asOperand; how++ {
			once, each := walker{how: how}, walker{how: how}
			if err, want := once.walk(nest(true, 4), 0), each.walk(nest(false, 4), 0); err != nil || want != nil {
				t.Fatal(err, want)
			}
			if once.nodes != each.nodes || once.bytes != each.bytes {
				t.Errorf("reading %d, tuples %v: one value many times counts as %d values with %d bytes of text, want %d with %d", how, tuple, once.nodes, once.bytes, each.nodes, each.bytes)
			}
		}
	}
}
