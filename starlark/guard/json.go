package guard

import (
	"errors"
	"fmt"

	jsonlib "go.starlark.net/lib/json"
	"go.starlark.net/starlark"
	"go.starlark.net/starlarkstruct"
)

// jsonModule is the library's, behind the same looks.
var jsonModule = &starlarkstruct.Module{
	Name: "json",
	Members: starlark.StringDict{
		"decode":        behind(jsonlib.Module.Members["decode"].(*starlark.Builtin), decodable),
		"encode":        behind(jsonlib.Module.Members["encode"].(*starlark.Builtin), encodable),
		"encode_indent": behind(jsonlib.Module.Members["encode_indent"].(*starlark.Builtin), indentedValue),
		"indent":        behind(jsonlib.Module.Members["indent"].(*starlark.Builtin), indentedText),
	},
}

// DecodeJSON is json.decode of text that a guest or a file made.
func DecodeJSON(thread *starlark.Thread, text string) (starlark.Value, error) {
	if err := decodable(nil, starlark.Tuple{starlark.String(text)}); err != nil {
		return nil, err
	}
	return jsonlib.Module.Members["decode"].(*starlark.Builtin).CallInternal(thread, starlark.Tuple{starlark.String(text)}, nil)
}

// A shape is what the punctuation of a JSON text says of it. It is right of
// valid text, and never too small for a prefix of it that is.
type shape struct {
	depth  int // of arrays and objects
	marks  int // commas, colons and brackets
	digits int // of the longest number
}

func shapeOf(text string) shape {
	var s shape
	depth, digits := 0, 0
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c >= '0' && c <= '9' {
			digits++
			s.digits = max(s.digits, digits)
			continue
		}
		digits = 0
		switch c {
		case '"':
			for i++; i < len(text) && text[i] != '"'; i++ {
				if text[i] == '\\' {
					i++
				}
			}
		case '[', '{':
			depth++
			s.marks++
			s.depth = max(s.depth, depth)
		case ']', '}':
			depth--
			s.marks++
		case ',', ':':
			s.marks++
		}
	}
	return s
}

func decodable(_ starlark.Value, args starlark.Tuple) error {
	if len(args) == 0 {
		return nil
	}
	text, ok := starlark.AsString(args[0])
	if !ok {
		return nil
	}
	s := shapeOf(text)
	switch {
	case s.depth > MaxDepth:
		return fmt.Errorf("the JSON is nested %d deep: at most %d", s.depth, MaxDepth)
	case s.marks > MaxElements:
		return fmt.Errorf("the JSON has more than %d values: too many for one step", MaxElements)
	case s.digits > MaxBits/4:
		return fmt.Errorf("the JSON has a number of %d digits: %w", s.digits, errInt)
	}
	return nil
}

func encodable(_ starlark.Value, args starlark.Tuple) error { return check(asJSON, args...) }

// indentedValue: the last arguments, if they are given, are prefix and indent.
func indentedValue(_ starlark.Value, args starlark.Tuple) error {
	if len(args) == 0 {
		return nil
	}
	w := walker{how: asJSON}
	if err := w.all(args[:1]); err != nil {
		return err
	}
	if w.nodes < 1<<10 && textLength(args[1:]) < 16 { // too little to be looked at twice
		return nil
	}
	text, err := jsonlib.Module.Members["encode"].(*starlark.Builtin).CallInternal(new(starlark.Thread), args[:1], nil)
	if err != nil {
		return nil // and so the library says
	}
	return indentedText(nil, append(starlark.Tuple{text}, args[1:]...))
}

func indentedText(_ starlark.Value, args starlark.Tuple) error {
	if len(args) == 0 {
		return nil
	}
	text, _ := starlark.AsString(args[0])
	margin := 1 + textLength(args[1:])
	s := shapeOf(text)
	lines := product(s.marks+1, product(margin, s.depth+1))
	if lines < 0 {
		return errors.New("the indented JSON would be too long for one step")
	}
	return textFits(sum(lines, len(text)))
}

// textLength is how long the strings of args are together.
func textLength(args starlark.Tuple) (n int) {
	for _, arg := range args {
		s, _ := starlark.AsString(arg)
		n += len(s)
	}
	return n
}
