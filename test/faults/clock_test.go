//go:build linux

package faults

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// A time.Time of time.Now has a reading of the monotonic clock, and time.Until,
// timers and deadlines go by that. A time that is made in another way, or has lost
// its reading, would go by CLOCK_REALTIME, which can jump. The one exception is a
// deadline that is over: time.Unix(1, 0).
func TestTheLibraryMeasuresNoTimeByTheWallClock(t *testing.T) {
	wall := map[string]bool{
		"Date": true, "Parse": true, "Unix": true, "UnixMilli": true, "UnixMicro": true, "UnixNano": true,
		"Round": true, "Truncate": true, "UTC": true, "Local": true, "In": true,
	}
	files, calls := 0, 0
	err := filepath.WalkDir("../../handoff", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && d.Name() == "metrics" {
			return fs.SkipDir // Prometheus wants to know when a process was started
		}
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		files++
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			if fun, ok := call.Fun.(*ast.SelectorExpr); ok && wall[fun.Sel.Name] {
				calls++
				if !isLongAgo(call, fun) {
					t.Errorf("%v: %s is a time of the wall clock", set.Position(call.Pos()), fun.Sel.Name)
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 20 || calls == 0 {
		t.Errorf("%d files and %d calls seen: the test looks in the wrong place", files, calls)
	}
}

func isLongAgo(call *ast.CallExpr, fun *ast.SelectorExpr) bool {
	x, ok := fun.X.(*ast.Ident)
	if !ok || x.Name != "time" || fun.Sel.Name != "Unix" || len(call.Args) != 2 {
		return false
	}
	one, ok := call.Args[0].(*ast.BasicLit)
	return ok && one.Value == "1"
}
