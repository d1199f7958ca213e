package handoff

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/handoff-dev/handoff/handoff/internal/startdir"
)

// started is how this process was started, read before main can change it.
var started = readStart()

type program struct {
	path string // absolute; "" when it can't be told
	args []string
	dir  startdir.Dir
}

func readStart() program {
	p := program{args: append([]string(nil), os.Args...)}
	p.dir = startdir.Present()
	p.path = findSelf(p.args, p.dir.Path)
	return p
}

// findSelf returns the path by which this program was started. It is the path,
// not the file, that leads to the next version.
func findSelf(args []string, dir string) string {
	exe, err := os.Executable()
	if err != nil {
		exe = ""
	}
	if len(args) == 0 || args[0] == "" {
		return exe
	}
	path := args[0]
	if strings.ContainsRune(path, filepath.Separator) {
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
	} else if path, err = exec.LookPath(path); err != nil {
		return exe
	}
	// argv[0] is whatever the starter wrote there: believe it if it leads here.
	if exe != "" && !sameFile(path, exe) {
		return exe
	}
	return path
}

func sameFile(a, b string) bool {
	sa, err := os.Stat(a)
	if err != nil {
		return false
	}
	sb, err := os.Stat(b)
	return err == nil && os.SameFile(sa, sb)
}
