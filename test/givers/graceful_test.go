//go:build linux

package givers

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
	"testing"

	"github.com/handoff-dev/handoff/test/internal/proctest"
)

// who asks the example server at addr for its pid and generation.
func who(t *testing.T, network, addr string) (pid, generation int, err error) {
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, addr)
		},
	}}
	req, err := http.NewRequestWithContext(proctest.Context(t), http.MethodGet, "http://graceful/", nil)
	if err != nil {
		return 0, 0, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, 0, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, 0, err
	}
	_, err = fmt.Sscanf(string(body), "pid=%d generation=%d", &pid, &generation)
	return pid, generation, err
}

func TestTheExampleServesOnActivatedSocketsAndSoDoesItsSuccessor(t *testing.T) {
	t.Parallel()
	program := proctest.RequireTool(t, "systemd-socket-activate")
	server := proctest.Build(t, proctest.Program{Package: "github.com/handoff-dev/handoff/examples/graceful", Race: true})
	addr, path := address(t), socketPath(t)
	p := proctest.Start(t, proctest.Command(program,
		"-l", addr, "-l", path, "--fdname=http:unix", "-E", "GORACE=atexit_sleep_ms=0",
		server, "-http", address(t), "-unix", path+"-own", "-probation", "50ms"))

	p.Until("the first generation at "+addr, func() error {
		pid, _, err := who(t, "tcp", addr)
		if err == nil && pid != p.Pid() {
			return fmt.Errorf("the answer comes from process %d", pid)
		}
		return err
	})
	if pid, _, err := who(t, "unix", path); err != nil || pid != p.Pid() {
		t.Fatalf("at %s answers process %d, error %v", path, pid, err)
	}

	p.Signal(syscall.SIGHUP)
	if err := p.Wait(); err != nil {
		t.Fatalf("the first generation ended with %v", err)
	}
	// From here on only the successor is left.
	pid, generation, err := who(t, "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	successor := proctest.Adopt(t, pid)
	if pid == p.Pid() || generation != 2 {
		t.Errorf("process %d of generation %d answers at %s after the upgrade", pid, generation, addr)
	}
	if again, _, err := who(t, "unix", path); err != nil || again != pid {
		t.Errorf("at %s answers process %d, error %v, want %d", path, again, err, pid)
	}
	successor.Stop(syscall.SIGTERM)
}
