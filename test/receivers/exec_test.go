//go:build linux

package receivers

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/handoff-dev/handoff/test/internal/proctest"
)

// The same programs, started by the command "handoff exec", which becomes them.
func TestAForeignProgramServesOnTheSocketsOfHandoffExec(t *testing.T) {
	t.Parallel()
	for name, receiver := range receivers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			target := receiver.command(t)
			tcp := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: proctest.FreePort(t)}
			dir, err := os.MkdirTemp("", "handoff")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.RemoveAll(dir) })
			unix := &net.UnixAddr{Name: filepath.Join(dir, "socket"), Net: "unix"}
			cmd := proctest.Command(proctest.Build(t, proctest.Program{Package: "github.com/handoff-dev/handoff/cmd/handoff"}),
				append([]string{"exec", "-l", "http=http::" + tcp.String(), "-l", "control=" + unix.Name + "?mode=0600", "--", target.Path}, target.Args[1:]...)...)
			cmd.Env = target.Env // with all that is stale in it
			p := proctest.Start(t, cmd)
			pid := strconv.Itoa(p.Pid())
			p.Until("two sockets", func() error { // a probe of them would be a client that leaves
				if strings.Count(p.Output(), "listening on") < 2 {
					return errors.New(p.Output())
				}
				return nil
			})
			for _, addr := range []net.Addr{tcp, unix} {
				r := reportFrom(t, p, addr)
				if receiver.pid {
					wantLines(t, "pid", r["pid"], []string{pid})
				}
				if receiver.names {
					wantLines(t, "name", r["name"], []string{"http", "control"})
				}
				if name == "libsystemd" {
					wantLines(t, "fd", r["fd"], []string{"0", "1", "2", "3", "4"})
					wantLines(t, "kind", r["kind"], []string{"inet stream listening", "unix stream listening"})
				}
			}
			var protocol []string
			for _, line := range environmentOf(t, p.Pid()) {
				if strings.HasPrefix(line, "LISTEN_") || strings.HasPrefix(line, "HANDOFF_") {
					protocol = append(protocol, line)
				}
			}
			wantLines(t, "env", protocol, []string{"LISTEN_FDS=2", "LISTEN_FDNAMES=http:control", "LISTEN_PID=" + pid})
			p.Stop(syscall.SIGTERM)
		})
	}
}
