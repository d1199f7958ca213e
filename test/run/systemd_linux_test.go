package run

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/handoff-dev/handoff/test/internal/proctest"
	"github.com/handoff-dev/handoff/test/internal/sdbox"
)

// boxed is a service "held.service" of a real systemd.
type boxed struct {
	*sdbox.Box
	t *testing.T
}

// box starts the service with a holder's flags and more lines of the unit.
func box(t *testing.T, mode, flags, lines string, units map[string]string) boxed {
	t.Helper()
	all := map[string]string{"held.service": `[Service]
Type=notify
NotifyAccess=main
ExecStartPre=/bin/sh -c 'echo ` + mode + ` >/run/mode'
ExecStart=/usr/local/bin/handoff run --probation 50ms ` + flags + ` -- /usr/local/bin/program -mode /run/mode
ExecReload=/bin/kill -HUP $MAINPID
Restart=on-failure
` + lines + "\n"}
	for name, text := range units {
		all[name] = text
	}
	b := boxed{t: t, Box: sdbox.Start(t, sdbox.Options{Units: all, Files: map[string]string{
		"/usr/local/bin/handoff": handoffCommand(t), "/usr/local/bin/program": testProgram(t),
	}})}
	return b
}

// get asks the service in its box.
func (b boxed) get(path string) (string, error) {
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return b.DialContext(ctx, "tcp", "127.0.0.1:8080")
	}}
	res, err := (&http.Client{Transport: transport}).Get("http://held" + path)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return string(text), err
}

// another waits until a process answers that is not pid, and returns which.
func (b boxed) another(pid string) string {
	b.t.Helper()
	var now string
	proctest.Until(b.t, "another process to answer", func() (err error) {
		if now, err = b.get("/pid"); err == nil && now == pid {
			err = fmt.Errorf("process %s does", pid)
		}
		return err
	})
	return now
}

func TestUnderSystemdTheMainProcessStaysWhileTheProgramIsSwapped(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		flags string
		units map[string]string
	}{
		"own socket":  {"-l http=127.0.0.1:8080", nil},
		"socket unit": {"", map[string]string{"held.socket": "[Socket]\nListenStream=127.0.0.1:8080\nFileDescriptorName=http\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := box(t, "notify", c.flags, "", c.units)
			if c.units != nil {
				b.Do("start", "held.socket")
			}
			b.Do("start", "held.service")
			main := b.MainPID("held.service")
			pid := b.another("")
			for range 3 {
				b.Do("reload", "held.service")
				pid = b.another(pid)
				b.Wait("held.service", "StatusText", "pid "+pid+" is here")
			}
			b.get("/crash")
			pid = b.another(pid)
			if now := b.MainPID("held.service"); now != main || pid == strconv.Itoa(main) {
				t.Errorf("the main process is %d, and was %d", now, main)
			}
			if n := b.Show("held.service", "NRestarts"); n != "0" {
				t.Errorf("systemd has started it again %s times", n)
			}
			b.Do("stop", "held.service")
			if result := b.Show("held.service", "Result"); result != "success" {
				t.Errorf("stopped with result %s", result)
			}
			if n := strings.Count(b.Journal("held.service"), "SIGTERM: stopping"); n != 1 {
				t.Errorf("the holder was asked to stop %d times", n)
			}
		})
	}
}

func TestUnderSystemdTheWatchdogSeesThatTheProgramHangs(t *testing.T) {
	t.Parallel()
	b := box(t, "watchdog", "-l http=127.0.0.1:8080", "WatchdogSec=1s\nWatchdogSignal=SIGKILL", nil)
	b.Do("start", "held.service")
	pid := b.another("")
	n, err := strconv.Atoi(pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(b.Outside(n), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	b.Wait("held.service", "NRestarts", "1")
	b.another(pid)
	b.Do("stop", "held.service")
}
