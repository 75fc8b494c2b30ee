package nvstar

import (
	"strings"
	"testing"

	"go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"nvlab/lab"
)

// TestAnswerText: values that differ have texts that differ, and what is no data has none.
func TestAnswerText(t *testing.T) {
	printed := func(stdout string) starlark.Value {
		return &result{r: &lab.Result{Ended: true, Stdout: []byte(stdout)}}
	}
	long := strings.Repeat("1", 2*briefLimit)
	dict := func(v starlark.Value) starlark.Value {
		d := starlark.NewDict(1)
		d.SetKey(starlark.String("a"), v)
		return d
	}
	texts := map[string]bool{}
	for _, v := range []starlark.Value{
		starlark.None, starlark.True, starlark.MakeInt(1), starlark.Float(1), starlark.String("1"), starlark.Bytes("1"),
		printed("one"), printed(long + "1"), printed(long + "2"), printed("\xff"), printed("\xfe"), printed("\ufffd"),
		starlark.NewList([]starlark.Value{printed(long + "1")}), starlark.NewList([]starlark.Value{printed(long + "2")}),
		starlark.Tuple{printed(long)}, dict(printed(long + "1")), dict(printed(long + "2")),
		record(starlark.StringDict{"a": printed(long + "1")}), record(starlark.StringDict{"a": printed(long + "2")}),
	} {
		text, err := answerText(v)
		if err != nil {
			t.Errorf("%v is refused as an answer: %v", v, err)
		}
		if texts[text] {
			t.Errorf("%v has the text of another answer, %.100s", v, text)
		}
		texts[text] = true
	}

	cyclic := starlark.NewList(nil)
	cyclic.Append(starlark.Tuple{cyclic})
	same := starlark.NewList(nil)
	if _, err := answerText(starlark.Tuple{same, same}); err != nil {
		t.Errorf("a list that is there twice is refused as an answer: %v", err)
	}
	for _, c := range []struct {
		v    starlark.Value
		want string
	}{
		{starlark.NewBuiltin("f", nil), "an answer is data"},
		{record(starlark.StringDict{"vm": starlark.NewList([]starlark.Value{&vm{made: "the recovering VM"}})}), "the recovering VM is a vm: an answer is data"},
		{cyclic, "a list that contains itself"},
	} {
		if text, err := answerText(c.v); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v as an answer is %q, %v; want an error that says %q", c.v.Type(), text, err, c.want)
		}
	}
}

// TestFunctionOf: a function is refused unless it can be called with two arguments.
func TestFunctionOf(t *testing.T) {
	sig := lazySignature("(f)")()
	for source, fits := range map[string]bool{
		"lambda: 0": false, "lambda a: 0": false, "lambda a, b: 0": true, "lambda a, b, c: 0": false, "lambda a, b, c = 1: 0": true,
		"lambda a, b = 1: 0": true, "lambda *a: 0": true, "lambda a, b, c, *d: 0": false, "lambda a, b, *, c: 0": false,
		"lambda a, b, *, c = 1: 0": true, "lambda a, b, **c: 0": true, "lambda a, **c: 0": false, "len": true,
	} {
		f, err := starlark.EvalOptions(&syntax.FileOptions{}, &starlark.Thread{}, "f.star", source, nil)
		if err != nil {
			t.Fatal(err)
		}
		c := &call{sig: sig, values: []starlark.Value{f}}
		if c.functionOf("f", 2, "two arguments, a VM and an answer"); (c.err == nil) != fits {
			t.Errorf("of %s it is said: %v; can it be called with two arguments: %v", source, c.err, fits)
		}
	}
}
