//go:build linux

package packaging

import (
	"archive/zip"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/handoff-dev/handoff/test/internal/proctest"
)

// installVersion has no /v9 in the module's path.
const installVersion = "v1.2.3"

// "go install …@latest" refuses what builds well in a clone, such as a go.mod with a replace, or a package
// of a module within. Here it installs from a proxy that has this tree as a version.
func TestGoInstallMakesTheCommand(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	module := strings.TrimSpace(output(t, inRepository("go", "list", "-m")))
	publish(t, filepath.Join(dir, "proxy"), module)
	flags := []string{"install", "-trimpath", "-modcacherw"}
	if !proctest.Long() {
		flags = append(flags, "-n") // all but the compilation, which takes half a minute
	}
	cmd := exec.Command("go", append(flags, module+"/cmd/handoff@latest")...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOBIN="+dir, "GOMODCACHE="+filepath.Join(dir, "modules"), "GOSUMDB=off", "GOFLAGS=",
		// What it depends on has been downloaded already.
		"GOPROXY=file://"+filepath.Join(dir, "proxy")+",file://"+goEnv(t, "GOMODCACHE")+"/cache/download,"+goEnv(t, "GOPROXY"))
	output(t, cmd)
	if !proctest.Long() {
		return
	}
	if got := output(t, exec.Command(filepath.Join(dir, "handoff"), "version")); !strings.HasPrefix(got, "handoff "+installVersion+" ") {
		t.Errorf("the installed command says %q, want %s, the module's version", got, installVersion)
	}
}

func inRepository(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir = repository
	return cmd
}

// publish lays this tree out as the protocol of GOPROXY has it, as far as the command needs it.
func publish(t *testing.T, proxy, module string) {
	t.Helper()
	dir := filepath.Join(proxy, filepath.FromSlash(module), "@v")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	mod, err := os.ReadFile(filepath.Join(repository, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "list"), installVersion+"\n")
	writeFile(t, filepath.Join(dir, installVersion+".info"), `{"Version": "`+installVersion+`", "Time": "2026-01-01T00:00:00Z"}`)
	writeFile(t, filepath.Join(dir, installVersion+".mod"), string(mod))
	f, err := os.Create(filepath.Join(dir, installVersion+".zip"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z := zip.NewWriter(f)
	add := func(path string) error {
		data, err := os.ReadFile(filepath.Join(repository, path))
		if err != nil {
			return err
		}
		w, err := z.Create(module + "@" + installVersion + "/" + path)
		if err == nil {
			_, err = w.Write(data)
		}
		return err
	}
	tree := os.DirFS(repository)
	for _, root := range []string{"go.mod", "go.sum", "cmd", "handoff", "internal"} {
		if err := fs.WalkDir(tree, root, func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			return add(path)
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
}
