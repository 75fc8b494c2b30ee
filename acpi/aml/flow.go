package aml

// Conditional is an If with its Else branches.
type Conditional struct {
	cond Term
	then []Term
	els  []Term // empty, or the statements of Else
	more *Conditional
}

// If runs body if cond is not zero. The branches follow as methods:
//
//	aml.If(a, x).ElseIf(b, y).Else(z)
func If(cond Term, body ...Term) Conditional { return Conditional{cond: cond, then: body} }

// ElseIf adds a branch that is tried if none before it was taken.
func (c Conditional) ElseIf(cond Term, body ...Term) Conditional {
	if c.more != nil {
		more := c.more.ElseIf(cond, body...)
		c.more = &more
		return c
	}
	c.more = &Conditional{cond: cond, then: body}
	return c
}

// Else adds the branch that runs if no other was taken. It comes last.
func (c Conditional) Else(body ...Term) Conditional {
	if c.more != nil {
		more := c.more.Else(body...)
		c.more = &more
		return c
	}
	c.els = body
	return c
}

func (c Conditional) emit(e *encoder) {
	block(opIf, c.cond, c.then).emit(e)
	switch {
	case c.more != nil:
		if len(c.els) > 0 {
			e.fail("an ElseIf comes after Else")
		}
		e.op(opElse)
		e.pkg(func() { c.more.emit(e) })
	case len(c.els) > 0:
		e.op(opElse)
		e.pkg(func() { e.terms(c.els) })
	}
}

// While repeats body as long as cond is not zero.
func While(cond Term, body ...Term) Term { return block(opWhile, cond, body) }

func block(code uint16, cond Term, body []Term) Term {
	return funcTerm(func(e *encoder) {
		e.op(code)
		e.pkg(func() {
			e.term(cond)
			e.terms(body)
		})
	})
}

// Break leaves the innermost While; Continue begins its next round.
const (
	Break    constant = opBreak
	Continue constant = opContinue
	Noop     constant = opNoop
)

// Return ends the method with a value.
func Return(value Term) Term { return op1(opReturn, value) }

// Call invokes a method. The number of arguments is not encoded: it must be
// that of the method's definition.
func Call(method string, args ...Term) Term {
	return funcTerm(func(e *encoder) {
		e.name(method)
		if len(args) > 7 {
			e.fail("call of %s with %d arguments: the limit is 7", method, len(args))
		}
		e.terms(args)
	})
}

// Notify sends an event of a device to the operating system.
func Notify(object, value Term) Term { return op2(opNotify, object, value) }

// Load loads the definition block that is in an operation region, and stores
// whether that worked in a target (ACPI 6.5, 19.6.76).
func Load(region string, target Term) Term {
	return funcTerm(func(e *encoder) {
		e.op(opLoad)
		e.name(region)
		e.term(target)
	})
}

// Acquire takes a mutex, waiting up to timeout ms (0xFFFF: for ever). Its value
// is true if the time ran out.
func Acquire(mutex Term, timeout uint16) Term {
	return funcTerm(func(e *encoder) {
		e.op(opAcquire)
		e.term(mutex)
		e.bytes(byte(timeout), byte(timeout>>8))
	})
}

// Release gives a mutex back.
func Release(mutex Term) Term { return op1(opRelease, mutex) }

// Signal raises an event.
func Signal(event Term) Term { return op1(opSignal, event) }

// Wait waits for an event up to timeout ms; true if the time ran out.
func Wait(event, timeout Term) Term { return op2(opWait, event, timeout) }

// Reset clears an event.
func Reset(event Term) Term { return op1(opReset, event) }

// Sleep yields the processor for a time in ms.
func Sleep(ms Term) Term { return op1(opSleep, ms) }

// Stall spins for a time in microseconds, at most 100.
func Stall(us Term) Term { return op1(opStall, us) }
