package flip

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/handoff-dev/handoff/test/internal/proctest"
)

const (
	theirs = `"github.com/cloudflare/tableflip"`
	ours   = `tableflip "github.com/handoff-dev/handoff/handoff/flip"`
)

// buildTableflip builds the server that knows tableflip only.
func buildTableflip(t testing.TB) string {
	t.Helper()
	return proctest.Build(t, proctest.Program{Dir: "tableflip", Package: "."})
}

// buildHandoff builds the server that has moved to handoff.
func buildHandoff(t testing.TB, probation string) string {
	t.Helper()
	return proctest.Build(t, proctest.Program{Package: "./handoff", Ldflags: "-X main.probation=" + probation, Race: true})
}

// buildShim builds tableflip's server with the import of handoff/flip.
func buildShim(t testing.TB) string {
	t.Helper()
	return proctest.Once(t, "shim", func(out string) ([]byte, error) {
		source, err := withOurImport("tableflip/main.go")
		if err != nil {
			return nil, err
		}
		return overlay(t, out, "build", map[string]string{"main.go": source}, "-race")
	})
}

// withOurImport returns the source of a file of tableflip's users with one line changed.
func withOurImport(path string) (string, error) {
	source, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	if n := strings.Count(string(source), theirs); n != 1 {
		return "", &os.PathError{Op: "change one import of", Path: path, Err: os.ErrInvalid}
	}
	return strings.Replace(string(source), theirs, ours, 1), nil
}

// overlay has the go command make out of sources, as if they were a package of this
// module (go help build, -overlay).
func overlay(t testing.TB, out, command string, sources map[string]string, flags ...string) ([]byte, error) {
	dir := t.TempDir()
	replace := map[string]string{}
	here, err := filepath.Abs(".")
	if err != nil {
		return nil, err
	}
	for name, source := range sources {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(source), 0o600); err != nil {
			return nil, err
		}
		replace[filepath.Join(here, "overlay", name)] = file
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return nil, err
	}
	list := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(list, text, 0o600); err != nil {
		return nil, err
	}
	args := append([]string{command, "-overlay", list, "-o", out}, flags...)
	return exec.Command("go", append(args, "./overlay")...).CombinedOutput()
}
