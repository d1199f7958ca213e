//go:build unix

package startdir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A child with this variable plays a process that goes through steps, as another user if
// this one is root, and tells where a process would have to start.
const stepsVariable = "TEST_STEPS"

func TestMain(m *testing.M) {
	if steps := os.Getenv(stepsVariable); steps != "" {
		if err := play(strings.Fields(steps)); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func play(steps []string) error {
	d := Present()
	for _, step := range steps {
		verb, args, _ := strings.Cut(step, ":")
		a, b, _ := strings.Cut(args, ":")
		var err error
		switch verb {
		case "cd":
			err = os.Chdir(a)
		case "rm":
			err = os.Remove(a)
		case "mkdir":
			err = os.Mkdir(a, 0o755)
		case "write":
			err = os.WriteFile(a, nil, 0o644)
		case "mv":
			err = os.Rename(a, b)
		case "link":
			err = errors.Join(os.Remove(a), os.Symlink(b, a))
		case "close":
			err = os.Chmod(a, 0)
		case "again":
			d = Present()
		case "drop": // as a service does that was started by root
			if os.Getuid() == 0 {
				err = syscall.Setuid(65534)
			}
		}
		if err != nil {
			return fmt.Errorf("%s: %w", step, err)
		}
	}
	next, err := d.Next()
	fmt.Printf("%q %v\n", next, err)
	return nil
}

func TestAChildStartsWhereItsParentWasStarted(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		steps, by string // DIR is the test's own; by: the link by which it was started
		want      string // "" is the present directory
	}{
		"nothing has happened":                             {"", "", `"" <nil>`},
		"it has moved away":                                {"cd:/", "", `"DIR/r1" <nil>`},
		"it has moved away and back":                       {"cd:/ cd:DIR/r1", "", `"" <nil>`},
		"the directory was removed":                        {"rm:DIR/r1", "", `"" <nil>`},
		"the directory was closed to the user":             {"close:DIR/r1 drop", "", `"" <nil>`},
		"a directory above it was closed":                  {"close:DIR drop", "", `"" <nil>`},
		"the directory has another name":                   {"mv:DIR/r1:DIR/r3", "", `"" <nil>`},
		"a file is in its place":                           {"rm:DIR/r1 write:DIR/r1", "", `"" <nil>`},
		"another directory is in its place":                {"mv:DIR/r1:DIR/r3 mkdir:DIR/r1", "", `"DIR/r1" <nil>`},
		"a directory that can't be entered is there":       {"rm:DIR/r1 mkdir:DIR/r1 close:DIR/r1 drop", "", `"" <nil>`},
		"it has moved away, and the directory was removed": {"cd:/ rm:DIR/r1", "", `"" chdir DIR/r1: no such file or directory`},
		"it has moved away, and the directory was closed":  {"cd:/ close:DIR/r1 drop", "", `"" chdir DIR/r1: permission denied`},
		"it has moved away, and a file is there":           {"cd:/ rm:DIR/r1 write:DIR/r1", "", `"" chdir DIR/r1: not a directory`},
		"started in one that is closed":                    {"close:DIR/r1 drop again cd:/", "", `"" chdir DIR/r1: permission denied`},
		"started by a link":                                {"", "DIR/current", `"" <nil>`},
		"started by a link, which has moved":               {"link:DIR/current:r2", "DIR/current", `"DIR/current" <nil>`},
		"the link has moved, and the old release is gone":  {"link:DIR/current:r2 rm:DIR/r1", "DIR/current", `"DIR/current" <nil>`},
		"the link leads nowhere":                           {"link:DIR/current:none", "DIR/current", `"" <nil>`},
		"the link leads to where it has moved":             {"cd:DIR/r2 link:DIR/current:r2", "DIR/current", `"" <nil>`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, err := filepath.EvalSymlinks(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			release := filepath.Join(dir, "r1")
			if err := errors.Join(os.Mkdir(release, 0o755), os.Mkdir(filepath.Join(dir, "r2"), 0o755), os.Symlink("r1", filepath.Join(dir, "current"))); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { // or they can't be removed
				os.Chmod(dir, 0o755)
				os.Chmod(release, 0o755)
			})
			here := func(s string) string { return strings.ReplaceAll(s, "DIR", dir) }
			if got := child(t, release, here(c.by), here(c.steps)); got != here(c.want) {
				t.Errorf("it says %s, want %s", got, here(c.want))
			}
		})
	}
}

// child returns what this program says as a process that was started in dir with $PWD
// and has gone through the steps.
func child(t *testing.T, dir, pwd, steps string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := &exec.Cmd{Path: self, Args: []string{"child"}, Dir: dir}
	if pwd == "" {
		pwd = dir
	}
	cmd.Env = []string{"PWD=" + pwd, stepsVariable + "=- " + steps, "GORACE=atexit_sleep_ms=0", "GOCOVERDIR=" + t.TempDir()}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return strings.TrimSpace(string(out))
}

func TestADirectoryIsToBlameOnlyForItsOwnError(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	missing, plain := filepath.Join(dir, "missing"), filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		dir   string
		cause error
		want  string
	}{
		{missing, syscall.ENOENT, "chdir " + missing + ": no such file or directory"},
		{plain, &fs.PathError{Op: "fork/exec", Path: "/bin/app", Err: syscall.ENOTDIR}, "chdir " + plain + ": not a directory"},
		{missing, syscall.EACCES, "<nil>"}, // the program's
		{missing, syscall.E2BIG, "<nil>"},
		{missing, nil, "<nil>"},
		{missing, errors.New("exit status 1"), "<nil>"},
		{dir, syscall.ENOENT, "<nil>"},
		{"", syscall.ENOENT, "<nil>"},
	} {
		if got := fmt.Sprint(Fault(c.dir, c.cause)); got != c.want {
			t.Errorf("%q, %v: got %s, want %s", c.dir, c.cause, got, c.want)
		}
	}
}
