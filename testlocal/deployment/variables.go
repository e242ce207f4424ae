package deployment

import (
	"errors"
	"fmt"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"go/types"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// module is the path of this repository's packages.
const module = "xinghe"

// Program is what the code of a program says of its surroundings.
type Program struct {
	// Variables are the environment variables that it reads by itself, and where: file:line.
	Variables map[string][]string
	// Secrets are those of them that hold credentials.
	Secrets map[string]bool
	// Open are the places where it reads a variable whose name is only known when it runs.
	Open []string
	// Bucket tells that it may open a sink on S3, whose library has variables of its own.
	Bucket bool
}

// ReadCode reads what programs say: each whose main package lies in a folder below one of the
// parents, such as "functions", by that folder's name, and those whose main package lies in
// a parent itself, such as "workers", by the parent's. root is the repository.
func ReadCode(root string, parents ...string) (map[string]Program, error) {
	s := &sources{
		root: root, files: token.NewFileSet(), packages: map[string]*types.Package{},
		bodies: map[types.Object]ast.Node{}, readers: map[types.Object]reader{},
		info: types.Info{Uses: map[*ast.Ident]types.Object{}, Defs: map[*ast.Ident]types.Object{}, Types: map[ast.Expr]types.TypeAndValue{}},
	}
	programs := map[string]Program{}
	for _, parent := range parents {
		mains, err := filepath.Glob(filepath.Join(root, parent, "*", "main.go"))
		if err != nil {
			return nil, err
		}
		for _, main := range append(mains, filepath.Join(root, parent, "main.go")) {
			if _, err := os.Stat(main); errors.Is(err, fs.ErrNotExist) {
				continue
			}
			folder, err := filepath.Rel(root, filepath.Dir(main))
			if err != nil {
				return nil, err
			}
			if programs[filepath.Base(folder)], err = s.program(filepath.ToSlash(folder)); err != nil {
				return nil, err
			}
		}
	}
	if len(programs) == 0 {
		return nil, fmt.Errorf("no programs below %s in %s", strings.Join(parents, ", "), root)
	}
	return programs, nil
}

// program finds the variables that the program in folder reads, by following from its main
// everything of this module that is mentioned on the way.
func (s *sources) program(folder string) (Program, error) {
	main, err := s.Import(path.Join(module, folder))
	if err != nil {
		return Program{}, err
	}
	entry := main.Scope().Lookup("main")
	if entry == nil {
		return Program{}, fmt.Errorf("%s has no main", folder)
	}
	for { // until no more functions are found that read the variable they are told
		known := len(s.readers)
		s.found, s.seen = Program{Variables: map[string][]string{}, Secrets: map[string]bool{}}, map[types.Object]bool{}
		s.follow(entry)
		if len(s.readers) == known {
			return s.found, nil
		}
	}
}

// sources are the packages of this module, as far as a program needs them. Those of others
// are taken for empty, which the type checker bears.
type sources struct {
	root     string
	files    *token.FileSet
	packages map[string]*types.Package
	info     types.Info
	bodies   map[types.Object]ast.Node // of functions and package variables
	readers  map[types.Object]reader   // functions that read the variable which an argument names
	seen     map[types.Object]bool
	found    Program
}

// Import implements [types.Importer].
func (s *sources) Import(name string) (*types.Package, error) {
	if p, ok := s.packages[name]; ok {
		return p, nil
	}
	rest, ours := strings.CutPrefix(name, module+"/")
	if !ours {
		foreign := types.NewPackage(name, path.Base(name))
		foreign.MarkComplete()
		s.packages[name] = foreign
		return foreign, nil
	}
	paths, err := filepath.Glob(filepath.Join(s.root, filepath.FromSlash(rest), "*.go"))
	if err != nil {
		return nil, err
	}
	var syntax []*ast.File
	for _, file := range paths {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(s.files, file, nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		syntax = append(syntax, parsed)
	}
	if len(syntax) == 0 {
		return nil, fmt.Errorf("no Go files in %s", rest)
	}
	cfg := types.Config{Importer: s, Error: func(error) {}} // what it misses lies in foreign packages
	checked, _ := cfg.Check(name, s.files, syntax, &s.info)
	s.packages[name] = checked
	for _, file := range syntax {
		s.remember(file)
	}
	return checked, nil
}

func (s *sources) remember(file *ast.File) {
	for _, decl := range file.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			s.bodies[s.info.Defs[d.Name]] = d
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				if values, ok := spec.(*ast.ValueSpec); ok {
					for _, name := range values.Names {
						s.bodies[s.info.Defs[name]] = values
					}
				}
			}
		}
	}
}

// follow looks at what an object does, and at all that it mentions, once.
func (s *sources) follow(object types.Object) {
	if s.seen[object] {
		return
	}
	s.seen[object] = true
	body, ok := s.bodies[object]
	if !ok || object.Pkg().Path() == module+"/shared/env" {
		return // foreign, or the reader itself
	}
	if object.Pkg().Path() == module+"/shared/sink" && object.Name() == "OpenS3" {
		s.found.Bucket = true
	}
	ast.Inspect(body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			s.call(object, body, n)
		case *ast.Ident:
			if used := s.info.Uses[n]; used != nil && s.bodies[origin(used)] != nil {
				s.follow(origin(used))
			}
		}
		return true
	})
}

func origin(object types.Object) types.Object {
	if function, ok := object.(*types.Func); ok {
		return function.Origin()
	}
	return object
}

// call notes the variable that a call reads, if it does.
func (s *sources) call(inside types.Object, body ast.Node, call *ast.CallExpr) {
	read, ok := s.reader(call.Fun)
	if !ok || read.name >= len(call.Args) {
		return
	}
	arg := call.Args[read.name]
	at := s.place(arg)
	if value := s.info.Types[arg].Value; value != nil && value.Kind() == constant.String {
		name := constant.StringVal(value)
		s.found.Variables[name] = append(s.found.Variables[name], at)
		if read.secret {
			s.found.Secrets[name] = true
		}
		return
	}
	if index := s.parameter(body, arg); index >= 0 {
		s.readers[inside] = reader{name: index, secret: read.secret}
		return
	}
	s.found.Open = append(s.found.Open, at)
}

// place is where an expression stands, as file:line below the root.
func (s *sources) place(e ast.Expr) string {
	at := s.files.Position(e.Pos())
	where, err := filepath.Rel(s.root, at.Filename)
	if err != nil {
		where = at.Filename
	}
	return fmt.Sprintf("%s:%d", filepath.ToSlash(where), at.Line)
}

// reader is a function that reads a variable.
type reader struct {
	name   int  // the argument that names it
	secret bool // it is for credentials
}

// reader tells whether a function is one.
func (s *sources) reader(fun ast.Expr) (r reader, ok bool) {
	var ident *ast.Ident
	switch fun := ast.Unparen(fun).(type) {
	case *ast.Ident:
		ident = fun
	case *ast.SelectorExpr:
		ident = fun.Sel
		if x, plain := fun.X.(*ast.Ident); plain && x.Name == "os" && (ident.Name == "Getenv" || ident.Name == "LookupEnv") {
			return r, true
		}
	default:
		return r, false
	}
	object := s.info.Uses[ident]
	if object == nil {
		return r, false
	}
	if r, ok = s.readers[origin(object)]; ok {
		return r, true
	}
	signature, isFunction := object.Type().(*types.Signature)
	switch {
	case !isFunction:
		return r, false
	case signature.Recv() != nil && strings.HasSuffix(signature.Recv().Type().String(), module+"/shared/env.Vars"):
		return reader{secret: ident.Name == "Secret"}, ident.Name != "Fault" && ident.Name != "Err"
	}
	return r, ident.Name == "getenv" && signature.Params().Len() == 1
}

// parameter returns which parameter of the function an expression is, or -1.
func (s *sources) parameter(body ast.Node, arg ast.Expr) int {
	function, ok := body.(*ast.FuncDecl)
	ident, plain := arg.(*ast.Ident)
	if !ok || !plain {
		return -1
	}
	index := 0
	for _, field := range function.Type.Params.List {
		for _, name := range field.Names {
			if s.info.Defs[name] == s.info.Uses[ident] {
				return index
			}
			index++
		}
	}
	return -1
}

// Names returns the variables in order.
func (p Program) Names() []string { return slices.Sorted(maps.Keys(p.Variables)) }
