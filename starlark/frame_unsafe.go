package nvstar

import (
	"reflect"

	"go.starlark.net/starlark"
)

// captured is the value of a variable that functions within its own have, too: the
// interpreter keeps it in a cell, which it lets nobody look into. It is nil if the
// variable has none yet, or if a cell is not what it was.
func captured(cell starlark.Value) starlark.Value {
	v := reflect.ValueOf(cell)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct || v.Elem().NumField() != 1 {
		return nil
	}
	field := v.Elem().Field(0)
	if field.Type() != reflect.TypeFor[starlark.Value]() {
		return nil
	}
	value, _ := reflect.NewAt(field.Type(), field.Addr().UnsafePointer()).Elem().Interface().(starlark.Value)
	return value
}
