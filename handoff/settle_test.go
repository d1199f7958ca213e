//go:build linux

package handoff_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/handoff-dev/handoff/handoff"
)

// slowManager is a service manager that reads when the test does.
type slowManager struct{ conn *net.UnixConn }

func newSlowManager(t *testing.T) *slowManager {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return &slowManager{conn}
}

// await reads until a datagram has the line key=…, and returns its value and the
// descriptors that came with it.
func (m *slowManager) await(t *testing.T, key string) (string, []int) {
	t.Helper()
	if err := m.conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	for {
		text, oob := make([]byte, 4096), make([]byte, 64)
		n, oobn, _, _, err := m.conn.ReadMsgUnix(text, oob)
		if err != nil {
			t.Fatalf("waiting for %s: %v", key, err)
		}
		for line := range strings.Lines(string(text[:n])) {
			k, value, _ := strings.Cut(strings.TrimSpace(line), "=")
			if k != key {
				continue
			}
			var fds []int
			if messages, err := syscall.ParseSocketControlMessage(oob[:oobn]); err == nil && len(messages) > 0 {
				fds, _ = syscall.ParseUnixRights(&messages[0])
			}
			return value, fds
		}
	}
}

func TestTheManagerKnowsWhoTakesOverBeforeTheSuccessorDoes(t *testing.T) {
	requireSystemdNotify(t)
	for _, c := range []struct {
		name string
		dies bool
	}{{"ItReadsLate", false}, {"TheSuccessorDiesBeforeItReads", true}} {
		t.Run(c.name, func(t *testing.T) {
			m := newSlowManager(t)
			up, ln := newUpgrader(t, "systemd-notify --ready; exec sleep 60", handoff.Options{})
			if err := up.Ready(); err != nil {
				t.Fatal(err)
			}
			outcome := make(chan error, 1)
			go func() { outcome <- up.Upgrade(t.Context()) }()
			text, _ := m.await(t, "MAINPID")
			pid, err := strconv.Atoi(text)
			if err != nil || pid < 2 {
				t.Fatalf("MAINPID=%q", text)
			}
			process, err := os.FindProcess(pid)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { process.Kill() })
			_, barrier := m.await(t, "BARRIER")
			if len(barrier) != 1 {
				t.Fatalf("the barrier came with the descriptors %v", barrier)
			}
			defer syscall.Close(barrier[0])
			select {
			case err := <-outcome:
				t.Fatalf("Upgrade returned %v before the manager had read all", err)
			case <-up.Draining():
				t.Fatal("this generation drains before the manager has read all")
			default:
			}
			if c.dies {
				if err := process.Kill(); err != nil {
					t.Fatal(err)
				}
				if err := <-outcome; !errors.Is(err, handoff.ErrExited) {
					t.Errorf("Upgrade returned %v", err)
				}
				if text, _ := m.await(t, "MAINPID"); text != strconv.Itoa(os.Getpid()) {
					t.Errorf("the manager was told MAINPID=%s at last", text)
				}
				mustAccept(t, ln)
				return
			}
			syscall.Close(barrier[0])
			barrier[0] = -1
			if err := <-outcome; err != nil {
				t.Errorf("Upgrade returned %v", err)
			}
		})
	}
}
