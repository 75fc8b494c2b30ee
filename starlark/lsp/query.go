package lsp

import (
	"slices"
	"strings"

	"go.starlark.net/syntax"

	nvstar "nvlab/starlark"
	"nvlab/starlark/format"
)

// inference is about the query's place. A line that is being typed is left out.
func (q *query) inference() (*inference, []function) {
	line, col := q.d.place(q.at)
	in := &inference{s: q.s, d: q.d, tree: q.d.treeAt(line)}
	return in, in.around(line, col)
}

// evaluate is an expression of the text, read by itself; nil if it is none.
func evaluate(text string) syntax.Expr {
	if text == "" || len(text) > 1000 {
		return nil
	}
	x, err := new(syntax.FileOptions).ParseExpr("", text, 0)
	if err != nil {
		return nil
	}
	return x
}

// words are what begins statements and expressions.
var words = strings.Fields("def load if elif else for in return lambda and or not pass break continue True False None")

func (q *query) completions() (any, error) {
	list := []completion{}
	end := q.d.offset(q.at)
	c := cursorAt(q.d.text, end)
	if c.inText {
		return list, nil
	}
	before := strings.TrimRightFunc(q.d.text[:end], isName)
	in, fns := q.inference()
	if rest, ok := strings.CutSuffix(before, "."); ok {
		x := evaluate(operand(rest))
		if x == nil {
			return list, nil
		}
		k := in.infer(x, fns)
		for _, field := range k.fields {
			if k.name == "struct" {
				list = append(list, completion{Label: field, Kind: kindField})
			}
		}
		if t := topicOf(k.name); t != nil {
			for _, s := range t.Subs {
				list = append(list, attributeCompletion(&s))
			}
		}
		return list, nil
	}
	if call, ok := c.call(); ok && call.keyword(q.d.text[:end]) == "" {
		if t := in.topic(orNone(evaluate(operand(q.d.text[:call.at]))), fns); t != nil && t.Sig != "" {
			names, _ := t.Params()
			for _, name := range names {
				list = append(list, completion{Label: name, Kind: kindProperty, Detail: "parameter of " + t.Name, InsertText: name + " = "})
			}
		}
	}
	seen := map[string]bool{}
	add := func(name string, kind int) {
		if seen[name] {
			return
		}
		seen[name] = true
		item := completion{Label: name, Kind: kind}
		if t := topicOf(name); t != nil {
			item.Detail, item.Documentation = t.Sig, text(t.Doc)
		}
		list = append(list, item)
	}
	for _, fn := range fns {
		for _, p := range fn.params {
			add(paramName(p), kindVariable)
		}
		for _, stmt := range fn.body {
			syntax.Walk(stmt, func(n syntax.Node) bool {
				if s, ok := n.(syntax.Stmt); ok {
					for _, name := range defined(s) {
						add(name, kindVariable)
					}
				}
				_, def := n.(*syntax.DefStmt)
				return !def
			})
		}
	}
	for _, name := range in.globals() {
		add(name, kindFunction)
	}
	for _, name := range nvstar.Names() {
		add(name, kindFunction)
	}
	for _, word := range words {
		add(word, kindKeyword)
	}
	return list, nil
}

// orNone is an expression, or one that nothing is known of.
func orNone(x syntax.Expr) syntax.Expr {
	if x == nil {
		return &syntax.Literal{}
	}
	return x
}

func attributeCompletion(t *nvstar.Topic) completion {
	kind := kindMethod
	if t.Sig == "" {
		kind = kindField
	}
	return completion{Label: attribute(t), Kind: kind, Detail: t.Sig, Documentation: text(t.Doc)}
}

func (q *query) signatures() (any, error) {
	end := q.d.offset(q.at)
	c := cursorAt(q.d.text, end)
	call, ok := c.call()
	if !ok {
		return nil, nil
	}
	callee := evaluate(operand(q.d.text[:call.at]))
	if callee == nil {
		return nil, nil
	}
	in, fns := q.inference()
	var sig signature
	var names []string
	if t := in.topic(callee, fns); t != nil && t.Sig != "" {
		names, _ = t.Params()
		sig = signature{Label: t.Name + t.Sig, Documentation: text(t.Doc)}
	} else if id, ok := callee.(*syntax.Ident); ok {
		where, def := in.function(id.Name)
		if def == nil {
			return nil, nil
		}
		sig.Label = where.head(def)
		for _, p := range def.Params {
			names = append(names, paramName(p))
		}
	} else {
		return nil, nil
	}
	active := call.commas
	if name := call.keyword(q.d.text[:end]); name != "" {
		active = max(slices.Index(names, name), 0)
	}
	for _, name := range slices.DeleteFunc(names, func(name string) bool { return name == "" }) { // a lone *
		sig.Parameters = append(sig.Parameters, parameter{name})
	}
	return signatureHelp{Signatures: []signature{sig}, ActiveParameter: active}, nil
}

// head is a def's first line as it stands, up to the parameters' end.
func (in *inference) head(def *syntax.DefStmt) string {
	var params []string
	for _, p := range def.Params {
		params = append(params, source(in.d, p))
	}
	return def.Name.Name + "(" + strings.Join(params, ", ") + ")"
}

// source is the text of a part of the tree.
func source(d *document, n syntax.Node) string {
	r := d.nodeSpan(n)
	return d.text[d.offset(r.Start):max(d.offset(r.Start), d.offset(r.End))]
}

// node is the smallest name or attribute at the query's place, nil for none.
func (q *query) node() (found syntax.Node) {
	line, col := q.d.place(q.at)
	within := func(p syntax.Position, n int) bool {
		return int(p.Line) == line && int(p.Col) <= col && col <= int(p.Col)+n
	}
	if q.d.tree == nil {
		return nil
	}
	syntax.Walk(q.d.tree, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.DotExpr:
			if within(n.Name.NamePos, len(n.Name.Name)) {
				found = n
			}
		case *syntax.Ident:
			if _, dot := found.(*syntax.DotExpr); !dot && within(n.NamePos, len(n.Name)) {
				found = n
			}
		case *syntax.LoadStmt:
			if within(n.Module.TokenPos, len(n.Module.Raw)) {
				found = n
			}
			for i := range n.From { // the walk passes these by
				if within(n.From[i].NamePos, len(n.From[i].Name)) || within(n.To[i].NamePos, len(n.To[i].Name)) {
					found = n.To[i]
				}
			}
		}
		return true
	})
	return found
}

func (q *query) hover() (any, error) {
	in, fns := q.inference()
	switch n := q.node().(type) {
	case *syntax.DotExpr:
		if t := in.topic(n, fns); t != nil {
			return hover{*text(code(t.Name+t.Sig) + "\n" + t.Doc)}, nil
		}
	case *syntax.Ident:
		if k := in.bound(n.Name, fns); k == nil {
			if t := topicOf(n.Name); t != nil {
				return hover{*text(code(t.Name+t.Sig) + "\n" + t.Doc)}, nil
			}
			return nil, nil
		}
		if where, def := in.function(n.Name); def != nil {
			return hover{*text(code("def "+where.head(def)) + "\n" + docstring(def))}, nil
		}
		if k := in.name(n.Name, fns); k.name != "" {
			of := ""
			if k.of != "" {
				of = " of " + k.of
			}
			return hover{*text(code(n.Name) + "\n" + k.name + of)}, nil
		}
	}
	return nil, nil
}

func docstring(def *syntax.DefStmt) string {
	if len(def.Body) > 0 {
		if s, ok := def.Body[0].(*syntax.ExprStmt); ok {
			if lit, ok := s.X.(*syntax.Literal); ok && lit.Token == syntax.STRING {
				return lit.Value.(string)
			}
		}
	}
	return ""
}

func (q *query) definition() (any, error) {
	in, fns := q.inference()
	switch n := q.node().(type) {
	case *syntax.LoadStmt:
		if other := in.loaded(n); other != nil {
			return location{uriOf(other.d.path), span{}}, nil
		}
	case *syntax.Ident:
		for i, fn := range fns {
			for _, p := range fn.params {
				if paramName(p) == n.Name {
					return in.location(p, n.Name), nil
				}
			}
			if at := firstBinding(fn.body, n.Name); at != nil && fns[i].def != nil {
				return in.location(at, n.Name), nil
			}
		}
		if where, def := in.function(n.Name); def != nil {
			return where.location(def.Name, n.Name), nil
		} else if where != nil && where.tree != nil && where != in {
			if at := firstBinding(where.tree.Stmts, in.original(n.Name)); at != nil {
				return where.location(at, n.Name), nil
			}
			return nil, nil
		}
		if in.tree != nil {
			if at := firstBinding(in.tree.Stmts, n.Name); at != nil {
				return in.location(at, n.Name), nil
			}
		}
	}
	return nil, nil
}

// original is the name that a loaded one has where it comes from.
func (in *inference) original(name string) string {
	for _, stmt := range in.tree.Stmts {
		if s, ok := stmt.(*syntax.LoadStmt); ok {
			for i, to := range s.To {
				if to.Name == name {
					return s.From[i].Name
				}
			}
		}
	}
	return name
}

func (in *inference) location(n syntax.Node, name string) location {
	start, _ := n.Span()
	return location{uriOf(in.d.path), in.d.word(start)}
}

// firstBinding is where a block first binds a name, without functions within.
func firstBinding(block []syntax.Stmt, name string) (found syntax.Node) {
	bind := func(x syntax.Expr) {
		syntax.Walk(x, func(n syntax.Node) bool {
			if id, ok := n.(*syntax.Ident); ok && found == nil && id.Name == name {
				found = id
			}
			_, dot := n.(*syntax.DotExpr)
			_, index := n.(*syntax.IndexExpr)
			return !dot && !index // x.a = 1 binds no x
		})
	}
	for _, stmt := range block {
		syntax.Walk(stmt, func(n syntax.Node) bool {
			switch n := n.(type) {
			case *syntax.DefStmt:
				if found == nil && n.Name.Name == name {
					found = n.Name
				}
				return false
			case *syntax.LambdaExpr:
				return false
			case *syntax.AssignStmt:
				bind(n.LHS)
			case *syntax.ForStmt:
				bind(n.Vars)
			case *syntax.ForClause:
				bind(n.Vars)
			}
			return true
		})
	}
	return found
}

func (q *query) symbols() (any, error) {
	list := []symbol{}
	if q.d.tree == nil {
		return list, nil
	}
	for _, stmt := range q.d.tree.Stmts {
		if def, ok := stmt.(*syntax.DefStmt); ok {
			first, _, _ := strings.Cut(docstring(def), "\n")
			list = append(list, symbol{def.Name.Name, first, symbolFunction, q.d.nodeSpan(def), q.d.word(def.Name.NamePos)})
		}
	}
	return list, nil
}

// layout replaces the whole text by what nvlab fmt makes of it.
func (q *query) layout() (any, error) {
	out, err := format.Source(q.d.path, []byte(q.d.text))
	if err != nil {
		return nil, err
	}
	if string(out) == q.d.text {
		return []textEdit{}, nil
	}
	return []textEdit{{span{End: position{Line: len(q.d.lines)}}, string(out)}}, nil
}
