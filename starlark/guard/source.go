package guard

import (
	"fmt"

	"go.starlark.net/syntax"
)

// Tree looks how deep a file's syntax tree is, as all that comes after the
// parser walks it on the stack. The parser bounds nesting by itself, but not
// what it reads in a loop: a + b + c, elif after elif, x.y.z.
func Tree(file *syntax.File) error {
	depth, deepest := 0, syntax.Position{}
	syntax.Walk(file, func(n syntax.Node) bool {
		if n == nil {
			depth--
			return false
		}
		if deepest.IsValid() || depth == MaxTree {
			if !deepest.IsValid() {
				deepest = position(n)
			}
			return false
		}
		depth++
		return true
	})
	if deepest.IsValid() {
		return syntax.Error{Pos: deepest, Msg: fmt.Sprintf("more than %d operators, calls or branches follow each other: cut it in parts", MaxTree)}
	}
	return nil
}

// Guard puts guards around the operations of a file that can walk a value or
// make one of any size: x + y becomes a call of the function for +, x[y] looks
// at y, and so on. What the file means, and the positions of its errors, stay
// as they are. The names of the functions are Universe's.
func Guard(file *syntax.File) {
	g := guarder{}
	file.Stmts = g.block(file.Stmts)
}

// position is some position of a node that is nested too deep to ask it where
// it begins.
func position(n syntax.Node) syntax.Position {
	switch n := n.(type) {
	case *syntax.BinaryExpr:
		return n.OpPos
	case *syntax.UnaryExpr:
		return n.OpPos
	case *syntax.CallExpr:
		return n.Lparen
	case *syntax.DotExpr:
		return n.Dot
	case *syntax.IndexExpr:
		return n.Lbrack
	case *syntax.SliceExpr:
		return n.Lbrack
	case *syntax.IfStmt:
		return n.If
	case *syntax.CondExpr:
		return n.If
	case *syntax.ParenExpr:
		return n.Lparen
	case *syntax.LambdaExpr:
		return n.Lambda
	case *syntax.Ident:
		return n.NamePos
	case *syntax.Literal:
		return n.TokenPos
	case *syntax.ListExpr:
		return n.Lbrack
	case *syntax.DictExpr:
		return n.Lbrace
	case *syntax.Comprehension:
		return n.Lbrack
	}
	start, _ := n.Span()
	return start
}

// A guarder rewrites a file.
type guarder struct{ names int }

func (g *guarder) block(stmts []syntax.Stmt) []syntax.Stmt {
	var out []syntax.Stmt
	for _, s := range stmts {
		switch s := s.(type) {
		case *syntax.AssignStmt:
			out = append(out, g.assign(s)...)
			continue
		case *syntax.ExprStmt:
			if _, ok := s.X.(*syntax.Literal); !ok { // a docstring stays one
				s.X = g.expr(s.X)
			}
		case *syntax.ReturnStmt:
			s.Result = g.expr(s.Result)
		case *syntax.IfStmt:
			s.Cond = g.expr(s.Cond)
			s.True, s.False = g.block(s.True), g.block(s.False)
		case *syntax.ForStmt:
			s.Vars, s.X = g.target(s.Vars), g.expr(s.X)
			s.Body = g.block(s.Body)
		case *syntax.WhileStmt:
			s.Cond = g.expr(s.Cond)
			s.Body = g.block(s.Body)
		case *syntax.DefStmt:
			g.named(s.Params)
			s.Body = g.block(s.Body)
		}
		out = append(out, s)
	}
	return out
}

// binary is the operator of an augmented one.
var binary = map[syntax.Token]syntax.Token{
	syntax.PLUS_EQ:    syntax.PLUS,
	syntax.STAR_EQ:    syntax.STAR,
	syntax.PERCENT_EQ: syntax.PERCENT,
	syntax.LTLT_EQ:    syntax.LTLT,
}

// assign guards an assignment. x += y becomes x += guard(x, y), where x is
// evaluated twice: a place such as f()[g()] is put into variables first.
func (g *guarder) assign(s *syntax.AssignStmt) []syntax.Stmt {
	s.RHS = g.expr(s.RHS)
	s.LHS = g.target(s.LHS)
	op, guarded := binary[s.Op]
	if !guarded || op == syntax.PLUS && literal(s.RHS) {
		return []syntax.Stmt{s}
	}
	var before []syntax.Stmt
	if place, ok := unparen(s.LHS).(*syntax.IndexExpr); ok {
		for _, part := range []*syntax.Expr{&place.X, &place.Y} {
			if literal(*part) {
				continue
			}
			g.names++
			name := fmt.Sprintf(" %d", g.names)
			before = append(before, &syntax.AssignStmt{OpPos: s.OpPos, Op: syntax.EQ, LHS: &syntax.Ident{NamePos: s.OpPos, Name: name}, RHS: *part})
			*part = &syntax.Ident{NamePos: place.Lbrack, Name: name}
		}
	}
	if target := copied(unparen(s.LHS)); target != nil {
		s.RHS = call(op.String()+"=", s.OpPos, target, s.RHS)
	}
	return append(before, s)
}

// target is the guarded form of what is assigned to.
func (g *guarder) target(e syntax.Expr) syntax.Expr {
	switch e := e.(type) {
	case *syntax.DotExpr:
		e.X = g.expr(e.X)
		return e
	case *syntax.ParenExpr:
		e.X = g.target(e.X)
		return e
	case *syntax.TupleExpr:
		for i, x := range e.List {
			e.List[i] = g.target(x)
		}
		return e
	case *syntax.ListExpr:
		for i, x := range e.List {
			e.List[i] = g.target(x)
		}
		return e
	}
	return g.expr(e)
}

// copied is a place to read from what is a place to write to; nil if it is
// none that can be both.
func copied(place syntax.Expr) syntax.Expr {
	switch e := place.(type) {
	case *syntax.Ident:
		return &syntax.Ident{NamePos: e.NamePos, Name: e.Name}
	case *syntax.Literal:
		return e
	case *syntax.IndexExpr:
		return &syntax.IndexExpr{X: copied(e.X), Lbrack: e.Lbrack, Y: copied(e.Y), Rbrack: e.Rbrack}
	}
	return nil
}

func (g *guarder) list(exprs []syntax.Expr) {
	for i, e := range exprs {
		exprs[i] = g.expr(e)
	}
}

// named guards the arguments of a call, or the parameters of a function, where
// name = value is no operator.
func (g *guarder) named(exprs []syntax.Expr) {
	for i, e := range exprs {
		switch e := e.(type) {
		case *syntax.BinaryExpr:
			if e.Op == syntax.EQ {
				e.Y = g.expr(e.Y)
				continue
			}
		case *syntax.UnaryExpr:
			if e.Op == syntax.STAR || e.Op == syntax.STARSTAR {
				if e.X != nil {
					e.X = g.expr(e.X)
				}
				continue
			}
		}
		exprs[i] = g.expr(e)
	}
}

// expr is the guarded form of an expression, nil of nil.
func (g *guarder) expr(e syntax.Expr) syntax.Expr {
	switch e := e.(type) {
	case *syntax.BinaryExpr:
		e.X, e.Y = g.expr(e.X), g.expr(e.Y)
		if guards[e.Op] != nil && !harmless(e) {
			return call(e.Op.String(), e.OpPos, e.X, e.Y)
		}
	case *syntax.UnaryExpr:
		e.X = g.expr(e.X)
	case *syntax.ParenExpr:
		e.X = g.expr(e.X)
	case *syntax.CondExpr:
		e.Cond, e.True, e.False = g.expr(e.Cond), g.expr(e.True), g.expr(e.False)
	case *syntax.TupleExpr:
		g.list(e.List)
	case *syntax.ListExpr:
		g.list(e.List)
	case *syntax.DictExpr:
		for _, entry := range e.List {
			g.entry(entry.(*syntax.DictEntry))
		}
	case *syntax.Comprehension:
		if entry, ok := e.Body.(*syntax.DictEntry); ok {
			g.entry(entry)
		} else {
			e.Body = g.expr(e.Body)
		}
		for _, clause := range e.Clauses {
			switch c := clause.(type) {
			case *syntax.ForClause:
				c.Vars, c.X = g.target(c.Vars), g.expr(c.X)
			case *syntax.IfClause:
				c.Cond = g.expr(c.Cond)
			}
		}
	case *syntax.LambdaExpr:
		g.named(e.Params)
		e.Body = g.expr(e.Body)
	case *syntax.SliceExpr:
		e.X, e.Lo, e.Hi, e.Step = g.expr(e.X), g.expr(e.Lo), g.expr(e.Hi), g.expr(e.Step)
	case *syntax.IndexExpr:
		e.X, e.Y = g.expr(e.X), g.key(e.Y)
	case *syntax.CallExpr:
		e.Fn = g.expr(e.Fn)
		g.named(e.Args)
		for _, arg := range e.Args {
			if star, ok := arg.(*syntax.UnaryExpr); ok && star.Op == syntax.STAR {
				star.X = call("*args", star.OpPos, star.X)
			}
		}
	case *syntax.DotExpr:
		e.X = g.expr(e.X)
		if methods[e.Name.Name] != nil {
			return call(".", e.Dot, e)
		}
	}
	return e
}

func (g *guarder) entry(e *syntax.DictEntry) {
	e.Key, e.Value = g.key(e.Key), g.expr(e.Value)
}

// key is the guarded form of what may be a key.
func (g *guarder) key(e syntax.Expr) syntax.Expr {
	start := syntax.Position{}
	if e = g.expr(e); !literal(e) {
		start, _ = e.Span()
		return call("[]", start, e)
	}
	return e
}

// harmless says that an operation makes little, whatever its other operand is.
func harmless(e *syntax.BinaryExpr) bool {
	switch e.Op {
	case syntax.STAR:
		return false
	case syntax.LTLT:
		return literal(e.X)
	case syntax.PERCENT:
		return literal(e.Y)
	}
	return literal(e.X) || literal(e.Y)
}

func literal(e syntax.Expr) bool {
	_, ok := unparen(e).(*syntax.Literal)
	return ok
}

func unparen(e syntax.Expr) syntax.Expr {
	for {
		p, ok := e.(*syntax.ParenExpr)
		if !ok {
			return e
		}
		e = p.X
	}
}

// call is a call of one of Universe's hidden functions.
func call(name string, at syntax.Position, args ...syntax.Expr) *syntax.CallExpr {
	return &syntax.CallExpr{Fn: &syntax.Ident{NamePos: at, Name: hidden(name)}, Lparen: at, Args: args, Rparen: at}
}
