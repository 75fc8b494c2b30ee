package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strconv"
	"strings"
)

// function is a Go function of the files ops*.go.
type function struct {
	name    string
	src     string // its text, alone in a file
	params  []param
	results []param
	ops     []directive
}

type param struct{ name, typ string }

// directive is a line //op:KIND NAME FORM:WIDTHS... of a function's comment.
type directive struct {
	kind, name     string
	variants       []variant
	cc             bool
	based, aligned bool
}

// variant is a form with a width, in bits.
type variant struct {
	form               string
	width              int
	hideForm, hideSize bool
}

const sourceHead = "package p\n"

// readFunctions parses files, in order.
func readFunctions(paths []string) (list []*function, err error) {
	for _, path := range paths {
		src, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, src, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		text := func(n ast.Node) string { return string(src[set.Position(n.Pos()).Offset:set.Position(n.End()).Offset]) }
		for _, d := range file.Decls {
			decl, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			f := &function{name: decl.Name.Name, params: fields(decl.Type.Params, text), results: fields(decl.Type.Results, text)}
			if decl.Doc != nil {
				for _, c := range decl.Doc.List {
					if line, ok := strings.CutPrefix(c.Text, "//op:"); ok {
						d, err := parseDirective(line)
						if err != nil {
							return nil, fmt.Errorf("%s: %q: %w", set.Position(c.Pos()), c.Text, err)
						}
						f.ops = append(f.ops, d)
					}
				}
				decl.Doc = nil
			}
			f.src = sourceHead + string(src[set.Position(decl.Pos()).Offset:set.Position(decl.End()).Offset])
			list = append(list, f)
		}
	}
	return list, nil
}

func fields(list *ast.FieldList, text func(ast.Node) string) (params []param) {
	if list == nil {
		return nil
	}
	for _, f := range list.List {
		if len(f.Names) == 0 {
			params = append(params, param{"", text(f.Type)})
		}
		for _, n := range f.Names {
			params = append(params, param{n.Name, text(f.Type)})
		}
	}
	return params
}

func parseDirective(line string) (d directive, err error) {
	words := strings.Fields(line)
	if len(words) < 2 {
		return d, fmt.Errorf("want a kind and a name")
	}
	d.kind, d.name = words[0], words[1]
	for _, w := range words[2:] {
		switch w {
		case "cc":
			d.cc = true
			continue
		case "based":
			d.based = true
			continue
		case "aligned":
			d.aligned = true
			continue
		}
		i := strings.IndexAny(w, ":=")
		if i < 0 {
			return d, fmt.Errorf("%q is no form with widths", w)
		}
		for _, n := range strings.Split(w[i+1:], ",") {
			v := variant{hideSize: w[i] == '='}
			if v.width, err = strconv.Atoi(n); err != nil {
				return d, err
			}
			v.form, v.hideForm = strings.CutPrefix(w[:i], ".")
			if _, ok := forms[v.form]; !ok {
				return d, fmt.Errorf("there is no form %q", v.form)
			}
			d.variants = append(d.variants, v)
		}
	}
	if d.variants == nil {
		d.variants = []variant{{hideForm: true, hideSize: true}}
	}
	return d, nil
}
