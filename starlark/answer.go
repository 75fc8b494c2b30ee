package nvstar

import (
	"fmt"
	"slices"
	"unicode/utf8"

	"go.starlark.net/starlark"
	"go.starlark.net/starlarkstruct"

	"nvlab/starlark/guard"
)

// answerText is the whole text of an answer: values that differ have other texts. An answer
// is data. A function, or what is of a VM, holds more than its text says, and would be used
// where the recovery is over.
func answerText(v starlark.Value) (string, error) {
	if err := guard.Printable(v); err != nil {
		return "", err
	}
	data, err := dataOf(v, nil)
	if err != nil {
		return "", err
	}
	return data.String(), nil
}

// dataOf is a value, within others, with results of commands as structs of all that they
// are.
func dataOf(v starlark.Value, around []starlark.Value) (starlark.Value, error) {
	switch v.(type) {
	case *starlark.List, *starlark.Dict:
		if slices.Contains(around, v) {
			return nil, fmt.Errorf("a %s that contains itself", v.Type())
		}
		around = append(around, v)
	}
	switch v := v.(type) {
	case starlark.NoneType, starlark.Bool, starlark.Int, starlark.Float, starlark.String, starlark.Bytes:
		return v, nil
	case *result:
		return record(starlark.StringDict{
			"exit_code": v.exitCode(), "signal": textOrNone(v.r.Signal), "stdout": stream(v.r.Stdout), "stderr": stream(v.r.Stderr),
		}), nil
	case *starlarkstruct.Struct:
		fields := starlark.StringDict{}
		v.ToStringDict(fields)
		for name, of := range fields {
			data, err := dataOf(of, around)
			if err != nil {
				return nil, err
			}
			fields[name] = data
		}
		return starlarkstruct.FromStringDict(v.Constructor(), fields), nil
	case *starlark.Dict:
		data := starlark.NewDict(v.Len())
		for _, item := range v.Items() {
			of, err := dataOf(item[1], around)
			if err == nil {
				_, err = dataOf(item[0], around)
			}
			if err == nil {
				err = data.SetKey(item[0], of)
			}
			if err != nil {
				return nil, err
			}
		}
		return data, nil
	case starlark.Tuple:
		return elementsData(v, around, func(list []starlark.Value) starlark.Value { return starlark.Tuple(list) })
	case *starlark.List:
		return elementsData(v, around, func(list []starlark.Value) starlark.Value { return starlark.NewList(list) })
	case *starlark.Set:
		_, err := elementsData(v, around, func([]starlark.Value) starlark.Value { return nil })
		return v, err
	}
	if v.Type() == "range" {
		return v, nil
	}
	return nil, fmt.Errorf("%s is a %s: an answer is data, such as text, numbers, lists, dicts, structs and results of commands", brief(v), v.Type())
}

func elementsData(v starlark.Iterable, around []starlark.Value, of func([]starlark.Value) starlark.Value) (starlark.Value, error) {
	var list []starlark.Value
	for element := range starlark.Elements(v) {
		data, err := dataOf(element, around)
		if err != nil {
			return nil, err
		}
		list = append(list, data)
	}
	return of(list), nil
}

// stream is what a command printed, as text if it is.
func stream(data []byte) starlark.Value {
	if utf8.Valid(data) {
		return starlark.String(data)
	}
	return starlark.Bytes(data)
}
