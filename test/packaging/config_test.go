//go:build linux

// Package packaging builds what a release holds, as .goreleaser.yaml says, and uses it: the static
// binaries, the manual pages and completions, the Debian package, the container image.
// Whether goreleaser understands its file is for its own check, see test/all --long.
package packaging

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/goreleaser/nfpm/v2/files"
	"go.yaml.in/yaml/v3"

	"github.com/handoff-dev/handoff/test/internal/proctest"
)

func TestMain(m *testing.M) { proctest.Main(m) }

const (
	repository  = "../.."
	testVersion = "v9.8.7"
)

// config is the part of .goreleaser.yaml that is tried out here.
type config struct {
	Before struct{ Hooks []string }
	Builds []build
	NFPMs  []struct {
		PackageName string `yaml:"package_name"`
		Formats     []string
		Maintainer  string
		Description string
		Section     string
		Priority    string
		Homepage    string
		License     string
		Vendor      string
		Bindir      string
		Umask       os.FileMode
		Contents    files.Contents
	}
}

type build struct {
	ID, Main, Binary          string
	Env, Flags, Tags, Ldflags []string
	GOOS, GOARCH              []string
}

func readConfig(t *testing.T) (c config) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(repository, ".goreleaser.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(data, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// binary is the build of that id for this machine.
func binary(t *testing.T, id string) string {
	t.Helper()
	for _, b := range readConfig(t).Builds {
		if b.ID == id {
			return b.build(t)
		}
	}
	t.Fatalf(".goreleaser.yaml has no build with the id %s", id)
	return ""
}

func (b build) build(t *testing.T) string {
	t.Helper()
	return goBuild(t, "release "+b.ID, b.Env, append(b.args(), b.Main))
}

// args are what goreleaser makes of the settings.
func (b build) args() []string {
	args := append([]string{}, b.Flags...)
	if len(b.Tags) > 0 {
		args = append(args, "-tags", strings.Join(b.Tags, ","))
	}
	ldflags := strings.Join(b.Ldflags, " ")
	return append(args, "-ldflags", strings.ReplaceAll(ldflags, "{{ .Version }}", strings.TrimPrefix(testVersion, "v")))
}

// goBuild builds in the repository.
func goBuild(t *testing.T, key string, env, args []string) string {
	t.Helper()
	return proctest.Once(t, key, func(out string) ([]byte, error) {
		cmd := exec.Command("go", append([]string{"build", "-o", out}, args...)...)
		cmd.Dir = repository
		cmd.Env = append(os.Environ(), env...)
		return cmd.CombinedOutput()
	})
}

// generated is a directory with what goreleaser's hook writes.
func generated(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "out")
	output(t, exec.Command(filepath.Join(repository, "packaging/generate"), dir, testVersion, binary(t, "handoff")))
	return dir
}

// output runs a command that succeeds.
func output(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s%s", cmd, err, out, stderr.String())
	}
	return string(out)
}

func hostArch(t *testing.T) string {
	t.Helper()
	if runtime.GOARCH != "amd64" && runtime.GOARCH != "arm64" {
		t.Skipf("there is no package for %s", runtime.GOARCH)
	}
	return runtime.GOARCH
}
