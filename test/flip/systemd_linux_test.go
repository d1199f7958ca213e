package flip

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"testing"

	"github.com/handoff-dev/handoff/test/internal/proctest"
	"github.com/handoff-dev/handoff/test/internal/sdbox"
)

const (
	unit    = "app.service"
	program = "/usr/local/bin/app"
)

// unitFile is after the one in tableflip's documentation.
const unitFile = `[Service]
ExecStart=` + program + ` -http 127.0.0.1:8080 -pid-file /run/app.pid
ExecReload=/bin/kill -HUP $MAINPID
PIDFile=/run/app.pid
`

type boxed struct {
	*sdbox.Box
	t *testing.T
}

// change replaces the program and reloads.
func (b boxed) change(executable string) {
	b.t.Helper()
	text, err := os.ReadFile(executable)
	if err != nil {
		b.t.Fatal(err)
	}
	old := b.MainPID(unit)
	b.WriteFile(program+".new", text, 0o755)
	if out, code := b.Exec("mv", program+".new", program); code != 0 {
		b.t.Fatal(out)
	}
	b.Do("reload", unit)
	b.WaitFor(unit, "MainPID", "another than "+strconv.Itoa(old), func(v string) bool { return v != strconv.Itoa(old) && v != "0" })
}

// dial sends a request without its body, and waits until the handler wants that.
func (b boxed) dial() (net.Conn, *bufio.Reader) {
	b.t.Helper()
	conn, err := b.DialContext(b.t.Context(), "tcp", "127.0.0.1:8080")
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(proctest.Deadline(b.t)); err != nil {
		b.t.Fatal(err)
	}
	fmt.Fprintf(conn, "POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
	in := bufio.NewReader(conn)
	answer, err := http.ReadResponse(in, nil)
	if err != nil || answer.StatusCode != http.StatusContinue {
		b.t.Fatalf("%v, %v", answer, err)
	}
	return conn, in
}

// stopsInPeace checks that systemd lets a request that is under way come to its end. It
// would kill at once a main process that it doesn't take for its child.
func (b boxed) stopsInPeace() {
	b.t.Helper()
	conn, in := b.dial()
	b.Do("stop", "--no-block", unit)
	b.Wait(unit, "ActiveState", "deactivating")
	fmt.Fprint(conn, "ab")
	if _, err := http.ReadResponse(in, nil); err != nil {
		b.t.Errorf("the request that was under way: %v", err)
	}
	conn.Close()
	b.Wait(unit, "ActiveState", "inactive")
	if got := b.Show(unit, "Result"); got != "success" {
		b.t.Errorf("Result is %s", got)
	}
}

func TestUnderTableflipsUnitSystemdFollowsOverAndBack(t *testing.T) {
	t.Parallel()
	their, our := buildTableflip(t), buildHandoff(t, "-1ns")
	for _, c := range []struct {
		name  string
		first string
		then  []string
		more  string // of the unit
	}{
		{name: "over", first: their, then: []string{our, our}},
		{name: "back", first: their, then: []string{our, their}},
		{name: "started as handoff", first: our, then: []string{our, their}},
		{name: "told by sd_notify", first: our, then: []string{our, their}, more: "Type=notify\nNotifyAccess=main\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := boxed{t: t, Box: sdbox.Start(t, sdbox.Options{
				Units: map[string]string{unit: unitFile + c.more, "test.target.d/mention.conf": "[Unit]\nAfter=" + unit + "\n"},
				Files: map[string]string{program: c.first},
			})}
			b.Do("start", unit)
			proctest.Until(t, "the PID file is there", func() error {
				if _, code := b.Exec("test", "-e", "/run/app.pid"); code != 0 {
					return os.ErrNotExist
				}
				return nil
			})
			for _, executable := range c.then {
				b.change(executable)
			}
			if got := b.Show(unit, "NRestarts"); got != "0" {
				t.Errorf("systemd has restarted it %s times", got)
			}
			b.stopsInPeace()
		})
	}
}
