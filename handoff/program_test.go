//go:build unix

package handoff

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A child with this variable tells how it was started, as main would see it
// after a chdir.
const programVariable = "TEST_PROGRAM"

func init() {
	if os.Getenv(programVariable) != "" {
		if err := os.Chdir("/"); err != nil {
			fmt.Println(err)
		}
		fmt.Printf("%s\n%s\n", started.path, started.dir.Path)
		os.Exit(0)
	}
}

// startedAs starts the program at path with another argv[0], and returns the path
// and the directory that it remembers.
func startedAs(t *testing.T, path, argv0, dir string, env ...string) (program, wd string) {
	t.Helper()
	cmd := &exec.Cmd{Path: path, Args: []string{argv0}, Dir: dir, Stderr: os.Stderr}
	cmd.Env = append(os.Environ(), append(env, programVariable+"=1", "GORACE=atexit_sleep_ms=0")...)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(out), "\n")
	if len(lines) != 3 {
		t.Fatalf("the child says %q", out)
	}
	return lines[0], lines[1]
}

// writeProgram holds off forks by parallel tests: a child that has the file open for
// writing, until it executes something else, has this one's execution fail by ETXTBSY.
func writeProgram(path string, data []byte) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	return os.WriteFile(path, data, 0o755)
}

// release makes dir/v1/app, this program, and dir/current, a link to v1.
func release(t *testing.T) (dir, app string) {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	app = filepath.Join(dir, "v1", "app")
	if err := errors.Join(os.Mkdir(filepath.Dir(app), 0o755), os.Symlink("v1", filepath.Join(dir, "current"))); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(self, app); err != nil { // another file system
		data, rerr := os.ReadFile(self)
		if err := errors.Join(rerr, writeProgram(app, data)); err != nil {
			t.Fatal(err)
		}
	}
	return dir, app
}

func TestTheWayAProgramWasStartedIsRemembered(t *testing.T) {
	t.Parallel()
	dir, app := release(t)
	current := filepath.Join(dir, "current", "app")
	for name, tc := range map[string]struct {
		path, argv0, dir string
		env              []string
		want             string
	}{
		"by an absolute path":          {app, app, "/", nil, app},
		"by a path through a link":     {current, current, "/", nil, current},
		"by a relative path":           {app, "v1/app", dir, nil, app},
		"by a relative path and a dot": {current, "./current/app", dir, nil, current},
		"by $PATH":                     {current, "app", "/", []string{"PATH=" + filepath.Join(dir, "current")}, current},
		"by $PATH with a dot":          {app, "app", filepath.Dir(app), []string{"PATH=."}, app},
		"with a faked name":            {app, "app: master process", "/", nil, app},
		"as a login shell":             {app, "-app", "/", []string{"PATH=" + filepath.Dir(app)}, app},
		"with another program's path":  {app, "/bin/sh", "/", nil, app},
		"with another program's name":  {app, "sh", "/", []string{"PATH=/bin:/usr/bin"}, app},
		"with a path that isn't there": {app, "/no/such/file", "/", nil, app},
		"with an empty name":           {app, "", "/", nil, app},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, wd := startedAs(t, tc.path, tc.argv0, tc.dir, tc.env...)
			if got != tc.want || wd != tc.dir {
				t.Errorf("it remembers %s in %s, want %s in %s", got, wd, tc.want, tc.dir)
			}
		})
	}
}

func TestADirectoryThatWasReachedByALinkIsRememberedByIt(t *testing.T) {
	t.Parallel()
	dir, app := release(t)
	current := filepath.Join(dir, "current")
	got, wd := startedAs(t, app, "./app", current, "PWD="+current)
	if want := filepath.Join(current, "app"); got != want || wd != current {
		t.Errorf("it remembers %s in %s, want %s in %s", got, wd, want, current)
	}
	if _, wd = startedAs(t, app, "./app", filepath.Dir(app), "PWD=/"); wd != filepath.Dir(app) {
		t.Errorf("a false $PWD is believed: %s", wd)
	}
}

// What is remembered is a path, so what is there later is the next version: after
// the file was replaced, and after the link was moved.
func TestThePathLeadsToTheNextVersion(t *testing.T) {
	t.Parallel()
	dir, _ := release(t)
	current := filepath.Join(dir, "current", "app")
	got, _ := startedAs(t, current, current, "/")
	next := filepath.Join(dir, "v2", "app")
	if err := errors.Join(os.Mkdir(filepath.Dir(next), 0o755), writeProgram(next, []byte("#!/bin/sh\necho 2\n")),
		os.Symlink("v2", filepath.Join(dir, "new")), os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, "current"))); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(got).Output(); err != nil || string(out) != "2\n" {
		t.Errorf("%s says %q, %v", got, out, err)
	}
}
