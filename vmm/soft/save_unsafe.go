package soft

import (
	"fmt"
	"reflect"
	"unsafe"
)

// A plainType says where the bytes of a type's fields are: structs and arrays
// of numbers and booleans. What lies between fields is not saved.
type plainType []run

// run is n bytes at off of a value.
type run struct{ off, n uintptr }

// plain is the plainType of T, or panics: T holds something else.
func plain[T any]() plainType {
	var p plainType
	p.add(reflect.TypeFor[T](), 0)
	return p
}

func (p *plainType) add(t reflect.Type, off uintptr) {
	switch k := t.Kind(); {
	case k == reflect.Struct:
		for i := range t.NumField() {
			f := t.Field(i)
			p.add(f.Type, off+f.Offset)
		}
	case k == reflect.Array:
		for i := range t.Len() {
			p.add(t.Elem(), off+uintptr(i)*t.Elem().Size())
		}
	case k >= reflect.Bool && k <= reflect.Float64 && k != reflect.Uintptr:
		if last := len(*p) - 1; last >= 0 && (*p)[last].off+(*p)[last].n == off {
			(*p)[last].n += t.Size()
		} else {
			*p = append(*p, run{off, t.Size()})
		}
	default:
		panic(fmt.Sprintf("%v cannot be saved as bytes", t))
	}
}

// size is how many bytes a value makes.
func (p plainType) size() (n int) {
	for _, r := range p {
		n += int(r.n)
	}
	return n
}

// appendTo appends the bytes of the value at v.
func (p plainType) appendTo(b []byte, v unsafe.Pointer) []byte {
	for _, r := range p {
		b = append(b, unsafe.Slice((*byte)(unsafe.Add(v, r.off)), r.n)...)
	}
	return b
}

// take fills the value at v from the front of b, which is long enough, and
// returns the rest.
func (p plainType) take(b []byte, v unsafe.Pointer) []byte {
	for _, r := range p {
		b = b[copy(unsafe.Slice((*byte)(unsafe.Add(v, r.off)), r.n), b):]
	}
	return b
}

var (
	plainSaved     = plain[savedProcessors]()
	plainProcessor = plain[savedProcessor]()
)

func (s *savedProcessors) appendTo(b []byte) []byte { return plainSaved.appendTo(b, unsafe.Pointer(s)) }
func (s *savedProcessors) take(b []byte) []byte     { return plainSaved.take(b, unsafe.Pointer(s)) }
func (s *savedProcessor) appendTo(b []byte) []byte {
	return plainProcessor.appendTo(b, unsafe.Pointer(s))
}
func (s *savedProcessor) take(b []byte) []byte { return plainProcessor.take(b, unsafe.Pointer(s)) }
