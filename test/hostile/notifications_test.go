//go:build linux

package hostile

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/handoff-dev/handoff/internal/load"
	"github.com/handoff-dev/handoff/test/internal/proctest"
)

// attack starts a process of a user that floods every upgrade of the service.
func attack(s *service, uid uint32) *proctest.Process {
	t := s.t
	t.Helper()
	path := proctest.Build(t, proctest.Program{Package: module + "/test/hostile/attacker"})
	cmd := proctest.Command(path)
	if int(uid) != os.Getuid() {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	}
	orders, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	p := proctest.Start(t, cmd)
	p.Until("it attacks", func() error {
		if !strings.Contains(p.Output(), "attacking") {
			return fmt.Errorf("it says %q", p.Output())
		}
		return nil
	})
	go func() {
		known := map[string]bool{}
		for ; ; time.Sleep(time.Millisecond) {
			for _, address := range s.inboxes() {
				if known[address] {
					continue
				}
				known[address] = true
				if _, err := fmt.Fprintln(orders, address); err != nil {
					return // it has ended
				}
			}
			select {
			case <-p.Exited():
				return
			default:
			}
		}
	}()
	return p
}

// inboxes returns where the main generation hears its successor.
func (s *service) inboxes() (found []string) {
	pid, err := s.readPID()
	if err != nil {
		return nil
	}
	own := map[string]bool{}
	links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	for _, link := range links {
		name, _ := os.Readlink(link)
		if inode, ok := strings.CutPrefix(name, "socket:["); ok {
			own[strings.TrimSuffix(inode, "]")] = true
		}
	}
	text, _ := os.ReadFile("/proc/net/unix")
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) == 8 && own[f[6]] && strings.HasPrefix(f[7], "@handoff-notify-") {
			found = append(found, f[7])
		}
	}
	return found
}

var total = regexp.MustCompile(`sent (\d+) to`)

// hits returns how many datagrams an attacker has sent, and ends it.
func hits(p *proctest.Process) (n int) {
	p.Stop(unix.SIGKILL)
	all := total.FindAllStringSubmatch(p.Output(), -1)
	if len(all) > 0 {
		n, _ = strconv.Atoi(all[len(all)-1][1])
	}
	return n
}

func TestAFloodOfForeignNotificationsChangesNothing(t *testing.T) {
	t.Parallel()
	users := map[string]uint32{"OfTheSameUser": uint32(os.Getuid())}
	if os.Getuid() == 0 {
		users["OfAnotherUser"] = nobody
	}
	for name, uid := range users {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// A real upgrade is not held up, and nothing is lost.
			s := start(t, raced(t, "1"), "-ready-delay", "300ms")
			g, err := load.StartGroup(t.Context(),
				load.Config{Target: load.Target{Addr: s.addr}, Shape: load.NewConn(), Workers: 2, Rate: 100},
				load.Config{Target: load.Target{Addr: s.addr}, Shape: load.Think(20 * time.Millisecond), Workers: 2})
			if err != nil {
				t.Fatal(err)
			}
			a := attack(s, uid)
			for range 3 {
				s.upgrade()
			}
			// One that is not ready isn't made ready by others, nor is its time prolonged. This
			// successor still waits when its time is over.
			main := s.main()
			before := descriptors(t, main)
			s.corrupt("wait", "exit")
			s.fails("exit status 3")
			n := hits(a)
			t.Logf("%d datagrams", n)
			if n < 300 {
				t.Errorf("only %d datagrams were sent: this is no flood", n)
			}
			r := g.Stop()
			if r.Failed > 0 || r.OK == 0 {
				t.Errorf("%d requests were answered, %d failed: %v %v", r.OK, r.Failed, r.Failures, r.Errors)
			}
			proctest.Until(t, "all descriptors are closed", func() error {
				if after := descriptors(t, main); after > before {
					return fmt.Errorf("%d are open, %d were", after, before)
				}
				return nil
			})
			out := s.first.Output()
			if warned := strings.Count(out, "level=WARN msg=\"ignoring a notification") + strings.Count(out, "level=WARN msg=notification"); warned < 1 || warned > 4 {
				t.Errorf("%d warnings for 4 upgrades", warned)
			}
			if strings.Contains(out, "attacked") {
				t.Error("a stranger's status is in the log")
			}
			s.stop()
		})
	}
}
