package systemd

import (
	"fmt"
	"os"
	"strings"
	"testing"

	units "github.com/handoff-dev/handoff/internal/unit"
	"github.com/handoff-dev/handoff/test/internal/proctest"
	"github.com/handoff-dev/handoff/test/internal/sdbox"
)

const current = "/srv/app/current" // a link to the release that counts

// release puts version n in place, moves the link to it, and removes version n-1.
func release(t testing.TB, box *sdbox.Box, n int) {
	t.Helper()
	data, err := os.ReadFile(build(t, fmt.Sprint(n)))
	if err != nil {
		t.Fatal(err)
	}
	dir := fmt.Sprintf("/srv/app/r%d", n)
	executable(t, box, dir+"/graceful", data)
	script := fmt.Sprintf("cd /srv/app && ln -s r%d next && mv -T next current && rm -rf r%d", n, n-1)
	if out, code := box.Exec("/bin/sh", "-c", script); code != 0 {
		t.Fatalf("exit code %d: %s", code, out)
	}
}

func TestAServiceOutlivesTheReleasesThatAreRemoved(t *testing.T) {
	t.Parallel()
	args := []string{"-http=" + httpAddr, "-unix=" + unixPath, "-udp=" + udpAddr, quick}
	told, err := units.Files(units.Options{Program: current + "/graceful", Args: args, Name: "graceful", Directory: current})
	if err != nil {
		t.Fatal(err)
	}
	untold := strings.Replace(told[0].Text, "\nEnvironment=PWD=", "\n# ", 1)
	for name, c := range map[string]struct {
		text     string
		cwd      func(n int) string
		findings []string
	}{
		"it knows of the link": {told[0].Text, func(n int) string { return fmt.Sprintf("/srv/app/r%d", n) }, nil},
		"it does not":          {untold, func(int) string { return "/srv/app/r1 (deleted)" }, []string{"warning working-directory-link", "warning working-directory-gone"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := install(t, map[string]string{unit: c.text})
			release(t, s.Box, 1)
			s.Do("start", unit)
			s.answersEverywhere(1)
			if c.findings == nil {
				s.findings()
			} else {
				s.findings(c.findings[0]) // before it matters
			}
			for n := 2; n <= 4; n++ {
				release(t, s.Box, n)
				main := s.upgrade(n)
				if main.version != fmt.Sprint(n) {
					t.Errorf("version %s serves, want %d", main.version, n)
				}
				if out, _ := s.Exec("readlink", fmt.Sprintf("/proc/%d/cwd", main.pid)); strings.TrimSpace(out) != c.cwd(n) {
					t.Errorf("generation %d stands in %q, want %s", n, out, c.cwd(n))
				}
				s.answersEverywhere(n)
			}
			s.findings(c.findings...)
			s.Do("stop", unit)
			s.ended()
		})
	}
}

// Under a service manager the error of a start named the program, which is there.
func TestADirectoryThatASuccessorCanNotEnterIsInTheStatus(t *testing.T) {
	t.Parallel()
	s := installKeeper(t, flags("-dir=/srv/none"))
	s.Do("start", unit)
	s.serves()
	s.Do("reload", unit)
	proctest.Until(t, "the status tells", func() error {
		if text := s.Show(unit, "StatusText"); !strings.Contains(text, "(start): chdir /srv/none: no such file or directory") {
			return fmt.Errorf("it is %q", text)
		}
		return nil
	})
}
