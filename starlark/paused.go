package nvstar

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.starlark.net/resolve"
	"go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"nvlab/lab"
	"nvlab/starlark/guard"
)

// A Paused is a test that stands where it failed, or asked to, its VMs as they are.
type Paused struct {
	Test string
	Why  string // it failed; "" if it stands where it called t.pause
	t    *T

	names starlark.StringDict // its variables, those of its file, and what is predeclared
	own   []string            // its variables
}

// pause lets somebody look at a test that fails, at the call of name that fails. An
// error that something catches, or that was paused for already, is none.
func (a *activity) pause(thread *starlark.Thread, name string, why error) {
	if a == nil || a.t == nil || a.t.env.Pause == nil || a.recovers || a.catching > 0 || a.paused || uncatchable(thread, why) {
		return
	}
	if a.t.expected() != "" {
		return
	}
	a.paused = true
	a.stand(thread, fmt.Sprintf("%s: %s", callSite(thread), withHint(named(name, strings.TrimPrefix(why.Error(), name+": ")), hintOf(why))))
}

// stand lets somebody look at the test.
func (a *activity) stand(thread *starlark.Thread, why string) {
	p := &Paused{Test: a.t.name, Why: why, t: a.t, names: maps.Clone(universe())}
	var frames []starlark.DebugFrame
	for i := range thread.CallStackDepth() {
		frames = append(frames, thread.DebugFrame(i))
	}
	for _, frame := range slices.Backward(frames) { // the innermost last, whose names count
		if fn, ok := frame.Callable().(*starlark.Function); ok {
			p.take(frame, fn)
		}
	}
	a.t.env.Pause(p)
}

// take adds the variables that a function has.
func (p *Paused) take(frame starlark.DebugFrame, fn *starlark.Function) {
	for name, v := range fn.Globals() {
		if v != nil {
			p.names[name] = v
		}
	}
	add := func(name string, v starlark.Value) {
		if v != nil && v.Type() == "cell" {
			v = captured(v)
		}
		if v != nil && !guard.Hidden(name) {
			p.names[name] = v
			p.list(name)
		}
	}
	for i := range fn.NumFreeVars() {
		b, v := fn.FreeVar(i)
		add(b.Name, v)
	}
	for i := range frame.NumLocals() {
		b, v := frame.Local(i)
		add(b.Name, v)
	}
}

// list adds a variable to those that are listed, but for _, the name of what nobody
// looks at.
func (p *Paused) list(name string) {
	if i, found := slices.BinarySearch(p.own, name); !found && name != "_" {
		p.own = slices.Insert(p.own, i, name)
	}
}

// Variables are the names of the test's own variables, and of those that the prompt
// bound.
func (p *Paused) Variables() []string { return p.own }

// resultName is the name that the value of an expression gets.
const resultName = "_result"

// Eval runs statements, or evaluates an expression, with the test's names, and
// returns what there is to show. Names that it binds stay.
func (p *Paused) Eval(text string, print func(string)) (shown string, err error) {
	bound, err := p.run(text, print)
	for name, v := range bound {
		if name != resultName {
			p.names[name] = v
			p.list(name)
		}
	}
	if v := bound[resultName]; err == nil && v != nil && v != starlark.None {
		return abridged(v, promptLimit), nil
	}
	return "", err
}

// run is Eval that returns what names it bound.
func (p *Paused) run(text string, print func(string)) (bound starlark.StringDict, err error) {
	defer recoverBug(&err)
	file, err := promptOptions.Parse("prompt", text, 0)
	if err != nil {
		return nil, plainError(err)
	}
	if err := guard.Tree(file); err != nil {
		return nil, err
	}
	if slices.ContainsFunc(file.Stmts, func(s syntax.Stmt) bool { _, ok := s.(*syntax.LoadStmt); return ok }) {
		return nil, errors.New("load is for files: at a prompt the names of the test's file count, and those that it loads")
	}
	if len(file.Stmts) == 1 {
		if s, ok := file.Stmts[0].(*syntax.ExprStmt); ok {
			start, _ := s.Span()
			file.Stmts[0] = &syntax.AssignStmt{OpPos: start, Op: syntax.EQ, LHS: &syntax.Ident{NamePos: start, Name: resultName}, RHS: s.X}
		}
	}
	if err := resolve.File(file, p.names.Has, starlark.Universe.Has); err != nil {
		return nil, plainError(err)
	}
	guard.Guard(file)
	hintIndexes(file)
	program, err := starlark.FileProgram(file, p.names.Has)
	if err != nil {
		return nil, err
	}
	a := newActivity(p.t.ctx, p.t.env.Steps)
	defer a.stop(nil)
	a.t, a.paused = p.t, true
	a.print = func(_ *starlark.Thread, text string) { print(text) }
	bound, err = program.Init(a.newThread("prompt"), p.names)
	if err = a.ended(err); err != nil {
		var ev *starlark.EvalError
		if errors.As(err, &ev) {
			err = errors.New(withHint(named(raiser(ev), message(ev)), hintOf(ev)))
		}
	}
	return bound, err
}

// withHint is a message and what may help with it, if that is known.
func withHint(msg, hint string) string {
	if hint = cmp.Or(hint, runHint(msg)); hint == "" {
		return msg
	}
	return strings.TrimRight(msg, "\n") + "\nhint: " + hint
}

// promptLimit is how many bytes of a value the prompt shows.
const promptLimit = 16 << 10

// plainError is an error of the syntax without the prompt's name as a file.
func plainError(err error) error {
	switch e := err.(type) {
	case syntax.Error:
		return errors.New(e.Msg)
	case resolve.ErrorList:
		return errors.New(e[0].Msg)
	}
	return err
}

// VM is the variable vm, if it is a VM, or the only one of the test's that is.
func (p *Paused) VM() (name string, err error) {
	if _, ok := p.names["vm"].(*vm); ok {
		return "vm", nil
	}
	for _, n := range slices.Sorted(maps.Keys(p.names)) {
		if _, ok := p.names[n].(*vm); !ok {
			continue
		}
		if name != "" {
			return "", fmt.Errorf("%s and %s are VMs: say which, as in shell %s and %s.run(...)", name, n, name, name)
		}
		name = n
	}
	if name == "" {
		return "", errors.New("no variable of the test is a VM")
	}
	return name, nil
}

// Shell connects the terminal to a shell on the console of the VM that a variable is;
// "" is that of VM.
func (p *Paused) Shell(name string, term lab.Terminal) (err error) {
	defer recoverBug(&err)
	if name == "" {
		if name, err = p.VM(); err != nil {
			return err
		}
	}
	v, ok := p.names[name].(*vm)
	if !ok {
		return fmt.Errorf("shell %s: want the name of a variable that is a VM", name)
	}
	over := p.t.telling(v, "prompt", func() string { return "shell " + name })
	err = v.v.Shell(p.t.ctx, term)
	over(err)
	if err != nil {
		return errors.New(named("shell "+name, inWords(err).Error()))
	}
	return nil
}

// Guest runs a command in the guest of VM, and returns what it printed.
func (p *Paused) Guest(command string, print func(string)) (string, error) {
	name, err := p.VM()
	if err != nil {
		return "", err
	}
	bound, err := p.run(fmt.Sprintf("%s.run(%s, check = False)", name, starlark.String(command)), print)
	if err != nil {
		return "", err
	}
	r, ok := bound[resultName].(*result)
	if !ok {
		return "", nil
	}
	text := ""
	for _, attr := range []string{"stdout", "stderr"} {
		if v, err := r.Attr(attr); err == nil {
			s, _ := starlark.AsString(v)
			text += s
		}
	}
	if v, err := r.Attr("exit_code"); err == nil && v.String() != "0" {
		text = strings.TrimRight(text, "\n") + fmt.Sprintf("\n(exit status %s)", v)
	}
	return strings.Trim(text, "\n"), nil
}

// Complete are the names that a word of names and dots may go on to, whole.
func (p *Paused) Complete(word string) (found []string) {
	parts := strings.Split(word, ".")
	names := p.names.Keys()
	prefix := ""
	if n := len(parts) - 1; n > 0 {
		v := p.names[parts[0]]
		for _, attr := range parts[1:n] {
			h, ok := v.(starlark.HasAttrs)
			if !ok {
				return nil
			}
			if v, _ = h.Attr(attr); v == nil {
				return nil
			}
		}
		h, ok := v.(starlark.HasAttrs)
		if !ok {
			return nil
		}
		names, prefix = h.AttrNames(), strings.Join(parts[:n], ".")+"."
	}
	for _, name := range names {
		if strings.HasPrefix(name, parts[len(parts)-1]) && !guard.Hidden(name) {
			found = append(found, prefix+name)
		}
	}
	slices.Sort(found)
	return found
}
