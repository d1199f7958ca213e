package proctest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// A Program is something that go build makes an executable of.
type Program struct {
	Package string // import path, or a path from Dir that begins with "./"
	Dir     string // where go build runs; "" is the directory of the test
	Ldflags string // for -ldflags, such as "-X main.version=2"
	Tags    string // for -tags
	Go      string // the release that builds it, such as "1.25.0"; "" is the one that runs the test
	Race    bool   // build with the race detector, if HANDOFF_TEST_RACE isn't "off"
}

// Build returns the path of p's executable. It is built once in a run of the test
// binary, and removed by Main. A program that does not build fails t.
func Build(t testing.TB, p Program) string {
	t.Helper()
	return Once(t, p, func(out string) ([]byte, error) {
		args := []string{"build", "-o", out}
		if p.Race && os.Getenv("HANDOFF_TEST_RACE") != "off" {
			args = append(args, "-race")
		}
		if p.Ldflags != "" {
			args = append(args, "-ldflags", p.Ldflags)
		}
		if p.Tags != "" {
			args = append(args, "-tags", p.Tags)
		}
		cmd := exec.Command("go", append(args, p.Package)...)
		cmd.Dir = p.Dir
		if p.Go != "" {
			cmd.Env = append(cmd.Environ(), "GOTOOLCHAIN=go"+p.Go)
		}
		return cmd.CombinedOutput()
	})
}

type build struct {
	once   sync.Once
	path   string
	output []byte
	err    error
}

var builds struct {
	sync.Mutex
	dir   string
	byKey map[any]*build
}

// Once returns the path of a file that make writes, and calls make once for each
// key in a run of the test binary. What make prints is shown when it fails.
func Once(t testing.TB, key any, make func(out string) (output []byte, err error)) string {
	t.Helper()
	b, err := lookUpBuild(key)
	if err != nil {
		t.Fatal(err)
	}
	b.once.Do(func() {
		if b.err = os.Mkdir(filepath.Dir(b.path), 0o755); b.err == nil {
			b.output, b.err = make(b.path)
		}
	})
	if b.err != nil {
		t.Fatalf("build of %+v: %v\n%s", key, b.err, b.output)
	}
	return b.path
}

func lookUpBuild(key any) (*build, error) {
	builds.Lock()
	defer builds.Unlock()
	if builds.dir == "" {
		dir, err := os.MkdirTemp(buildRoot(), "handoff-test-")
		if err != nil {
			return nil, err
		}
		if err := os.Chmod(dir, 0o755); err != nil { // a test may run it as another user
			return nil, err
		}
		builds.dir, builds.byKey = dir, map[any]*build{}
	}
	b := builds.byKey[key]
	if b == nil {
		// A directory each, so that the executable can have a telling name: it is what ps shows.
		b = &build{path: filepath.Join(builds.dir, strconv.Itoa(len(builds.byKey)), executableName(key))}
		builds.byKey[key] = b
	}
	return b, nil
}

func executableName(key any) string {
	name := "program"
	switch key := key.(type) {
	case Program:
		name = filepath.Base(filepath.Join(key.Dir, key.Package))
	case string:
		name = filepath.Base(key)
	}
	return strings.TrimSuffix(name, filepath.Ext(name)) + exeSuffix
}

// buildRoot is not /tmp where that can be avoided: a systemd that is under test has
// a /tmp of its own, and does not see what lies in ours.
func buildRoot() string {
	if info, err := os.Stat("/var/tmp"); err == nil && info.IsDir() {
		return "/var/tmp"
	}
	return ""
}

func removeBuilds() {
	builds.Lock()
	defer builds.Unlock()
	if builds.dir != "" {
		os.RemoveAll(builds.dir)
	}
}
