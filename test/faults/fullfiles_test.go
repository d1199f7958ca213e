//go:build linux

package faults

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/handoff-dev/handoff/test/internal/proctest"
)

// opening are the system calls that need room in the system's table of open files; but
// for clone(2), which starts threads too, where it would be another fault.
const opening = "openat,socket,socketpair,pipe2,accept4,pidfd_open,epoll_create1,eventfd2,memfd_create"

// fullFilesScenarios: the system's table of open files is full (ENFILE). To really fill
// it would be to the harm of the whole machine (proc_sys_fs(5), file-max), so strace(1)
// makes the kernel say so to this service alone, to all generations that there are
// in that time.
func fullFilesScenarios() (all []*scenario) {
	for _, c := range []struct {
		calls, where string
		works        bool
	}{
		{calls: opening, where: "from every call"},
		{calls: "pipe2", where: "from pipe(2)"},
		{calls: "socket", where: "from socket(2)"},
		{calls: "socketpair", where: "from socketpair(2)"},
		{calls: "accept4", where: "from accept(2), of both", works: true},
	} {
		s := &scenario{
			step: "fork", fault: "ENFILE " + c.where, who: "old", serves: theOld, cause: "too many open files in system",
			short:  c.calls == opening || c.works,
			inject: func(s *service) { s.upgradeWithFullTable(c.calls) },
		}
		if c.works {
			s.serves, s.cause = theNew, ""
			s.flags = []string{"-probation", "2s"} // in which nobody forks, see below
		}
		all = append(all, s)
	}
	return all
}

// upgradeWithFullTable has the calls fail from before the upgrade until it has failed, or
// until they have failed in it a few times.
func (s *service) upgradeWithFullTable(calls string) {
	s.t.Helper()
	tracer := exec.Command(proctest.RequireTool(s.t, "strace"), "-f", "-p", strconv.Itoa(s.old),
		"-o", "/dev/null", "-e", "trace="+calls, "-e", "inject="+calls+":error=ENFILE")
	said, err := tracer.StderrPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := tracer.Start(); err != nil {
		s.t.Fatal(err)
	}
	if err := attached(said); err != nil {
		s.t.Fatalf("strace: %v: %v", err, tracer.Wait())
	}
	s.hangUp()
	// Where it works, in its probation: strace 6.1 hangs when it is to let go of a process
	// between vfork and exec, which the old one is in before that, and the new one (to see
	// whether pidfds work) after it.
	proctest.Until(s.t, "the upgrade has failed, or goes well", func() error {
		_, since, ready := strings.Cut(s.log(), "successor is ready")
		if !strings.Contains(s.log(), "upgrade failed") && !(ready && strings.Contains(since, "Accept error")) {
			return errors.New("neither is in the log")
		}
		return nil
	})
	if err := tracer.Process.Signal(syscall.SIGINT); err != nil {
		s.t.Error(err)
	}
	patience := time.AfterFunc(5*time.Second, func() { tracer.Process.Kill() })
	_ = tracer.Wait() // with what ended it: the signal
	if !patience.Stop() {
		s.t.Error("strace did not let go of the service")
	}
}

// attached waits until strace has every thread, and keeps reading what it says.
func attached(said io.Reader) error {
	lines := bufio.NewScanner(said)
	for lines.Scan() {
		if strings.HasSuffix(lines.Text(), " attached") || strings.Contains(lines.Text(), " attached with ") {
			go func() {
				_, _ = io.Copy(io.Discard, said)
			}()
			return nil
		}
		if strings.Contains(lines.Text(), "ptrace") {
			return fmt.Errorf("it says %q", lines.Text())
		}
	}
	return errors.New("it has ended")
}
