//go:build linux

package run

import (
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/handoff-dev/handoff/internal/load"
	"github.com/handoff-dev/handoff/test/internal/proctest"
)

// A foreign program knows nothing of a holder, or nothing of this one.
type foreign struct {
	// flags and program are what "handoff run" is called with for a socket at addr.
	command func(t *testing.T, addr string) (flags, program []string)
	shapes  []load.Shape // in which it loses nothing
	code    int          // its exit status when it is asked to stop
}

var foreigners = map[string]foreign{
	"gunicorn": {shapes: []load.Shape{load.NewConn()}, command: func(t *testing.T, _ string) (flags, program []string) {
		gunicorn := proctest.RequireTool(t, "/usr/bin/gunicorn")
		return []string{"--ready", "http=/"}, []string{gunicorn, "--chdir", "testdata", "--workers", "1", "--threads", "4", "echo_app:app"}
	}},
	"python http.server": {shapes: []load.Shape{load.NewConn()}, command: func(t *testing.T, _ string) (flags, program []string) {
		python := proctest.RequireTool(t, "/usr/bin/python3")
		proctest.RequireSuccess(t, "python3-systemd", python, "-c", "from systemd import daemon")
		return nil, []string{python, "-B", "testdata/http_server.py"}
	}},
	"nginx": {shapes: []load.Shape{load.NewConn()}, command: func(t *testing.T, addr string) (flags, program []string) {
		nginx := proctest.RequireTool(t, "/usr/sbin/nginx")
		dir := shortDir(t)
		if err := os.Chmod(dir, 0o755); err != nil { // its workers are of another user
			t.Fatal(err)
		}
		config, err := os.ReadFile("testdata/nginx.conf")
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, "nginx.conf")
		write(t, file, strings.NewReplacer("DIR", dir, "ADDR", addr, "BACKEND", backend(t)).Replace(string(config)))
		return []string{"--compat", "nginx", "--stop-signal", "QUIT", "--ready", "http=/healthz"}, []string{nginx, "-e", dir + "/error.log", "-c", file}
	}},
	"node": {shapes: []load.Shape{load.NewConn()}, command: func(t *testing.T, _ string) (flags, program []string) {
		return []string{"--ready", "http=/"}, []string{proctest.RequireTool(t, "node"), "testdata/echo.js"}
	}},
	"go-systemd": {shapes: []load.Shape{load.NewConn()}, command: func(t *testing.T, _ string) (flags, program []string) {
		return nil, []string{proctest.Build(t, proctest.Program{Dir: "gosystemd", Package: "."})}
	}},
	"this library": {
		shapes: []load.Shape{load.NewConn(), load.KeepAlive(), load.Think(loadThink), load.SlowPost(loadThink / 10)},
		command: func(t *testing.T, _ string) (flags, program []string) {
			return nil, []string{proctest.Build(t, proctest.Program{Package: "github.com/handoff-dev/handoff/examples/graceful"})}
		},
	},
}

// backend answers what nginx passes on.
func backend(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })}
	go srv.Serve(ln)
	t.Cleanup(func() { srv.Close() })
	return ln.Addr().String()
}

// loadThink is how long a client thinks at most.
const loadThink = 200 * time.Millisecond

func TestTwentySwapsOfAProgramLoseNoRequest(t *testing.T) {
	t.Parallel()
	for name, f := range foreigners {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr := "127.0.0.1:" + strconv.Itoa(proctest.FreePort(t))
			flags, program := f.command(t, addr)
			args := append([]string{"run", "--probation", "50ms", "-l", "http=" + addr}, flags...)
			cmd := proctest.Command(handoffCommand(t), append(append(args, "--"), program...)...)
			cmd.Env = append(cmd.Env, "PYTHONDONTWRITEBYTECODE=1")
			h := start(t, cmd, addr)
			h.saying("serves")
			g := h.load(f.shapes...)
			for range 20 {
				h.upgrade()
			}
			r := g.Stop()
			lossless(t, r)
			h.end(f.code)
		})
	}
}
