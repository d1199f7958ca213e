//go:build linux

package faults

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/handoff-dev/handoff/test/internal/proctest"
	"golang.org/x/sys/unix"
)

// anotherUser has no account, and nothing runs as it.
const anotherUser = 54321

// mostDescriptors is up to how many free descriptors an upgrade is tried with; it
// works with fewer.
const mostDescriptors = 14

// limitScenarios: what the old generation may have no more of.
func limitScenarios() (all []*scenario) {
	for free := range mostDescriptors {
		c := &scenario{
			step: "fork", fault: fmt.Sprintf("EMFILE after %d descriptors", free), who: "old",
			serves: either, short: free%4 == 0,
			inject: func(s *service) { s.upgradeWithFewDescriptors(free) },
		}
		if free < 6 {
			c.serves, c.cause = theOld, "too many open files"
		}
		all = append(all, c)
	}
	return append(all,
		&scenario{
			step: "fork", fault: "no more processes, by RLIMIT_NPROC", who: "old", short: true,
			serves: theOld, cause: "resource temporarily unavailable", flags: []string{"-threads", "24"},
			started: asAnotherUser,
			inject:  func(s *service) { s.limitProcesses("1"); s.hangUp() },
			undo:    func(s *service) { s.limitProcesses("10000") },
		},
		&scenario{
			step: "fork", fault: "no more processes, by pids.max", who: "old", short: true,
			serves: theOld, cause: "resource temporarily unavailable", flags: []string{"-threads", "24"},
			inject: func(s *service) {
				now := s.enterGroup()
				s.writeGroup("pids.max", now)
				s.hangUp()
			},
			undo: func(s *service) { s.writeGroup("pids.max", "max") },
		})
}

func asAnotherUser(s *service, cmd *execCmd) {
	needRoot(s.t)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: anotherUser, Gid: anotherUser}}
}

// limit sets a soft limit of the old generation.
func (s *service) limit(resource int, soft uint64) {
	s.t.Helper()
	var now unix.Rlimit
	if err := unix.Prlimit(s.old, resource, nil, &now); err != nil {
		s.t.Fatal(err)
	}
	now.Cur = min(soft, now.Max)
	if err := unix.Prlimit(s.old, resource, &now, nil); err != nil {
		s.t.Fatal(err)
	}
}

// limitProcesses sets the soft RLIMIT_NPROC, as the user whose process it is: root
// may lack CAP_SYS_RESOURCE.
func (s *service) limitProcesses(soft string) {
	s.t.Helper()
	cmd := exec.Command(proctest.RequireTool(s.t, "prlimit"), "--pid", strconv.Itoa(s.old), "--nproc="+soft+":")
	asAnotherUser(s, cmd)
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Fatalf("prlimit: %v: %s", err, out)
	}
}

// upgradeWithFewDescriptors takes the limit back when the upgrade has failed or
// worked: under it not even the test could ask who serves.
func (s *service) upgradeWithFewDescriptors(free int) {
	s.t.Helper()
	var before unix.Rlimit
	if err := unix.Prlimit(s.old, unix.RLIMIT_NOFILE, nil, &before); err != nil {
		s.t.Fatal(err)
	}
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.old))
	if err != nil {
		s.t.Fatal(err)
	}
	s.limit(unix.RLIMIT_NOFILE, uint64(len(open)+free))
	s.hangUp()
	proctest.Until(s.t, "the upgrade is over", func() error {
		if log := s.log(); !strings.Contains(log, "upgrade failed") && !strings.Contains(log, "upgraded") {
			return errors.New("it is not")
		}
		return nil
	})
	if s.procs.alive(s.old) {
		_ = unix.Prlimit(s.old, unix.RLIMIT_NOFILE, &before, nil)
	}
}

// group is a cgroup for this service.
func (s *service) group() string {
	for _, root := range []string{"/sys/fs/cgroup/pids", "/sys/fs/cgroup"} {
		dir := filepath.Join(root, "handoff-"+filepath.Base(s.dir))
		if _, err := os.Stat(dir); err == nil {
			return dir
		}
		if os.Mkdir(dir, 0o755) != nil {
			continue
		}
		if _, err := os.Stat(filepath.Join(dir, "pids.max")); err != nil {
			os.Remove(dir)
			continue
		}
		s.t.Cleanup(func() {
			if err := os.Remove(dir); err != nil {
				s.t.Error(err)
			}
		})
		return dir
	}
	s.t.Skip("no cgroup with the pids controller can be made here")
	return ""
}

func (s *service) writeGroup(file, content string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.group(), file), []byte(content), 0); err != nil {
		s.t.Fatal(err)
	}
}

// enterGroup moves the old generation into its cgroup, and returns how many tasks
// are there.
func (s *service) enterGroup() (tasks string) {
	s.t.Helper()
	s.writeGroup("cgroup.procs", strconv.Itoa(s.old))
	text, err := os.ReadFile(filepath.Join(s.group(), "pids.current"))
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}
