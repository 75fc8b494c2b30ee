package nvstar

import (
	"slices"

	"go.starlark.net/syntax"
)

// explorers are the names of a file that stand for what explores: functions with
// a call of .explore, those that name such a function, and what is loaded of that
// kind. To take one for an explorer that is none costs time only: it runs in every
// shard.
func explorers(file *syntax.File, loads map[string]*module) map[string]bool {
	found := map[string]bool{}
	names := map[string]map[string]bool{} // that a global mentions
	for _, stmt := range file.Stmts {
		switch s := stmt.(type) {
		case *syntax.LoadStmt:
			if m := loads[s.ModuleName()]; m != nil {
				for i := range s.From {
					if m.explore[s.From[i].Name] {
						found[s.To[i].Name] = true
					}
				}
			}
		case *syntax.DefStmt:
			names[s.Name.Name] = mentioned(s)
		case *syntax.AssignStmt:
			if id, ok := s.LHS.(*syntax.Ident); ok {
				names[id.Name] = mentioned(s.RHS)
			}
		}
	}
	for more := true; more; {
		more = false
		for name, of := range names {
			if found[name] {
				continue
			}
			for other := range of {
				if other == ".explore" || found[other] {
					found[name], more = true, true
					break
				}
			}
		}
	}
	return found
}

// mentioned are the names in a part of a file, and ".explore" for that attribute,
// unless it is called with share = False.
func mentioned(n syntax.Node) map[string]bool {
	names, whole := map[string]bool{}, map[syntax.Expr]bool{}
	syntax.Walk(n, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.CallExpr:
			whole[n.Fn] = slices.ContainsFunc(n.Args, isUnshared)
		case *syntax.Ident:
			names[n.Name] = true
		case *syntax.DotExpr:
			if n.Name.Name == "explore" && !whole[n] {
				names[".explore"] = true
			}
		}
		return true
	})
	return names
}

// isUnshared says that an argument is share = False.
func isUnshared(arg syntax.Expr) bool {
	named, ok := arg.(*syntax.BinaryExpr)
	if !ok || named.Op != syntax.EQ {
		return false
	}
	name, ok1 := named.X.(*syntax.Ident)
	value, ok2 := named.Y.(*syntax.Ident)
	return ok1 && ok2 && name.Name == "share" && value.Name == "False"
}
