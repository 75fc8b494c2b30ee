// Package option has the error of an option that would have to have another
// value. Whoever offers the option knows how its user writes it.
package option

// An Error says why something is refused that another value of an option would
// allow. Its text is that of Err, which says nothing of how the option is
// written.
type Error struct {
	Err    error
	Option string // as QEMU calls it, "_" for "-": "unarmed"
	Want   any    // bool, or text
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }
