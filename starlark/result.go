package nvstar

import (
	"errors"
	"fmt"

	"go.starlark.net/starlark"

	"nvlab/lab"
)

// A result is how a command in the guest ended. It holds nothing of the VM.
type result struct {
	r       *lab.Result
	command string
}

func (r *result) alive() error                             { return nil }
func (r *result) Type() string                             { return "result" }
func (r *result) Freeze()                                  {}
func (r *result) Truth() starlark.Bool                     { return true }
func (r *result) Hash() (uint32, error)                    { return 0, errors.New("unhashable: result") }
func (r *result) Attr(name string) (starlark.Value, error) { return resultClass.attr(r, name) }
func (r *result) AttrNames() []string                      { return resultClass.attrNames() }

func (r *result) String() string {
	return fmt.Sprintf("struct(exit_code = %s, signal = %s, stdout = %s, stderr = %s)",
		r.exitCode(), textOrNone(r.r.Signal), brief(r.stream(r.r.Stdout)), brief(r.stream(r.r.Stderr)))
}

// explain is what a failed check of an attribute shows of the result: the
// streams, but for one that the check shows itself.
func (r *result) explain(attr string) string {
	shown := *r.r
	switch attr {
	case "stdout", "stdout_bytes", "json":
		shown.Stdout = nil
	case "stderr":
		shown.Stderr = nil
	}
	return (&lab.CommandError{Command: r.command, Result: &shown}).Error()
}

// judged is the result that a check's first argument is an attribute of, and
// which: the check itself gets a number or a text.
func judged(thread *starlark.Thread) (*result, string) {
	a := activityOf(thread)
	if a.t == nil || thread.CallStackDepth() < 2 {
		return nil, ""
	}
	frame := thread.DebugFrame(1)
	at := frame.Position()
	src := a.t.sources.files[at.Filename()]
	if src == nil {
		return nil, ""
	}
	read, ok := src.reads[place(at)]
	switch {
	case !ok || resultClass.index[read.attr] == nil:
		return nil, ""
	case read.name == "":
		return a.latest, read.attr
	}
	for i := range frame.NumLocals() {
		if binding, v := frame.Local(i); binding.Name == read.name {
			r, _ := v.(*result)
			return r, read.attr
		}
	}
	return nil, ""
}

func (r *result) exitCode() starlark.Value {
	if !r.r.Ended || r.r.Signal != "" {
		return starlark.None
	}
	return starlark.MakeInt(r.r.ExitCode)
}

func (r *result) stream(data []byte) starlark.Value {
	return readable(string(data))
}

var resultClass = newClass("result", "How a command in the guest ended.", []member[*result]{
	{name: "exit_code", doc: `The exit status; None if a signal ended the command or the VM went away.`,
		get: func(r *result) (starlark.Value, error) { return r.exitCode(), nil }},
	{name: "signal", doc: `The signal that ended the command, such as "SIGKILL"; else None.`,
		get: func(r *result) (starlark.Value, error) { return textOrNone(r.r.Signal), nil }},
	{name: "stdout", doc: `Standard output as text; bytes that are not UTF-8 become U+FFFD.`,
		get: func(r *result) (starlark.Value, error) { return r.stream(r.r.Stdout), nil }},
	{name: "stderr", doc: `Standard error as text.`,
		get: func(r *result) (starlark.Value, error) { return r.stream(r.r.Stderr), nil }},
	{name: "stdout_bytes", doc: `Standard output as bytes.`,
		get: func(r *result) (starlark.Value, error) { return starlark.Bytes(r.r.Stdout), nil }},
	{name: "json", sig: `()`, doc: `Standard output decoded as JSON.`,
		call: func(c *call, r *result) (starlark.Value, error) {
			v, err := decodeJSON(c.thread, string(r.r.Stdout))
			if err != nil {
				return nil, fmt.Errorf("stdout is not JSON: %w\n%s", err, shorten(string(r.r.Stdout), 2000))
			}
			activityOf(c.thread).gave(v, r.command)
			return v, nil
		}},
})
