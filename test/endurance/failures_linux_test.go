package endurance

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/handoff-dev/handoff/test/internal/graceful"
	"github.com/handoff-dev/handoff/test/internal/proctest"
)

func TestAHundredFailedUpgradesLeaveNothingBehind(t *testing.T) {
	for _, failure := range []struct {
		name   string
		script string
		mode   os.FileMode
		flags  []string
		says   string
	}{
		{"NotExecutable", "#!/bin/sh\n", 0o644, nil, "permission denied"},
		{"NoExecutableFormat", "\x7fELF", 0o755, nil, "exec format error"},
		{"ExitBeforeReady", "#!/bin/sh\nexit 3\n", 0o755, nil, "exit"},
		{"Timeout", "#!/bin/sh\nexec sleep 1000\n", 0o755, []string{"-ready-timeout", "20ms"}, "not ready in time"},
	} {
		for _, supervised := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/Supervised=%t", failure.name, supervised), func(t *testing.T) {
				t.Parallel()
				env := []string{"GOGC=off"} // which would close what the library has forgotten
				if supervised {
					env = append(env, "NOTIFY_SOCKET="+graceful.Manager(t))
				}
				s := newSubjectIn(t, buildProbe(t), true, env, failure.flags...)
				pid := s.Main()
				s.write(failure.script, failure.mode)
				s.fail(10, failure.says) // what is made once and kept is made by then
				before := s.take(pid)
				s.fail(100, failure.says)
				s.awaitOpen(pid, before.Open)
				after := s.take(pid)
				t.Logf("before: %s", before)
				t.Logf("after:  %s", after)
				after.sameAs(t, before)
				const noise = 128 << 10 // caches of the runtime and of net/http
				if after.heap > before.heap+noise {
					t.Errorf("the heap has grown from %d to %d bytes", before.heap, after.heap)
				}
				s.Install(buildProbe(t))
				proctest.Until(t, "an upgrade works", func() error { // in ReadyTimeout, which is short
					answer, err := s.post("/upgrade")
					if err == nil && !strings.Contains(answer, "<nil>") {
						err = errors.New(answer)
					}
					return err
				})
				s.AwaitAlone(s.Main())
				s.StopGroup()
			})
		}
	}
}

// awaitOpen waits until a process has these descriptors and no others.
func (s *subject) awaitOpen(pid int, want []string) {
	s.T.Helper()
	proctest.Until(s.T, "the descriptors are those from before", func() error {
		open, err := openFiles(pid)
		if err == nil && !slices.Equal(open, want) {
			err = fmt.Errorf("new: %q, gone: %q", without(open, want), without(want, open))
		}
		return err
	})
}

// write puts a script, or what is none, in the place of the service's executable.
func (s *subject) write(content string, mode os.FileMode) {
	s.T.Helper()
	path := s.Path + ".new"
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		s.T.Fatal(err)
	}
	if err := os.Rename(path, s.Path); err != nil {
		s.T.Fatal(err)
	}
}

// fail lets upgrades fail, and the test with them if they don't.
func (s *subject) fail(times int, says string) {
	s.T.Helper()
	for range times {
		answer, err := s.post("/upgrade")
		if err != nil || !strings.Contains(answer, says) {
			s.T.Fatalf("the upgrade: %q, error %v; want %q", answer, err, says)
		}
	}
}

func (s *subject) post(path string) (string, error) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Post("http://"+s.HTTP+path, "", nil)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return string(text), err
}
