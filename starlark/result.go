package nvstar

import (
	"errors"
	"fmt"

	"go.starlark.net/starlark"

	"nvlab/lab"
)

// A result is how a command in the guest ended. It holds nothing of the VM.
type result struct{ r *lab.Result }

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
			return v, nil
		}},
})
