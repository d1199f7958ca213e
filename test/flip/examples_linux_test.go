package flip

import (
	"errors"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/handoff-dev/handoff/internal/load"
	"github.com/handoff-dev/handoff/test/internal/graceful"
	"github.com/handoff-dev/handoff/test/internal/proctest"
)

// runner makes a program of an example, which is a function of a test.
const runner = `package tableflip_test

import (
	"io"
	"net/http"
	"os"
	"strconv"
	"testing"
)

func TestMain(*testing.M) {
	if os.Getenv("EXAMPLE") == "tcp" {
		Example_tcpServer()
		return
	}
	http.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Pid", strconv.Itoa(os.Getpid()))
		io.Copy(w, r.Body)
	})
	Example_httpShutdown()
}
`

// buildExamples builds tableflip's own two examples, with one line of each changed.
func buildExamples(t *testing.T) string {
	t.Helper()
	return proctest.Once(t, "examples", func(out string) ([]byte, error) {
		dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/cloudflare/tableflip").Output()
		if err != nil {
			return nil, err
		}
		sources := map[string]string{"main_test.go": runner}
		for _, name := range []string{"http_example_test.go", "tcp_example_test.go"} {
			if sources[name], err = withOurImport(filepath.Join(strings.TrimSpace(string(dir)), name)); err != nil {
				return nil, err
			}
		}
		return overlay(t, out, "test", sources, "-c", "-vet=off", "-race")
	})
}

func startExample(t *testing.T, which string) *service {
	t.Helper()
	s := &service{Server: graceful.New(t, "")}
	s.Install(buildExamples(t))
	cmd := proctest.Command(s.Path, "-listen", s.HTTP, "-pid-file", s.PIDFile)
	cmd.Env = append(cmd.Env, "EXAMPLE="+which)
	s.Run(cmd)
	return s
}

const exampleUpgrades = 5 // each has a probation of a second

func TestTableflipsHTTPExampleRunsOnOneChangedLine(t *testing.T) {
	t.Parallel()
	s := startExample(t, "http")
	g, err := load.StartGroup(t.Context(),
		load.Config{Target: load.Target{Addr: s.HTTP}, Shape: load.NewConn(), Workers: 2},
		load.Config{Target: load.Target{Addr: s.HTTP}, Shape: load.KeepAlive(), Workers: 2})
	if err != nil {
		t.Fatal(err)
	}
	for range exampleUpgrades {
		sent := time.Now()
		s.change(buildExamples(t))
		if _, err := g.AwaitFirstAnswer(t.Context(), sent); err != nil {
			t.Fatal(err)
		}
	}
	r := g.Stop()
	t.Logf("%d requests by %d processes, failures: %v", r.Requests, len(r.PIDs), r.Failures)
	if r.Requests < 100 || len(r.PIDs) != exampleUpgrades+1 {
		t.Errorf("%d requests by %d processes: too few to tell", r.Requests, len(r.PIDs))
	}
	for _, f := range r.Errors {
		if f.Kind != load.EOF && f.Kind != load.Reset { // the example calls Shutdown
			t.Errorf("%+v", f)
		}
	}
	s.Signal(s.Main(), syscall.SIGKILL) // it has no other way to stop
	s.Gone()
	if out := s.First.Output(); strings.Contains(out, "HTTP server:") || strings.Contains(out, "failed") {
		t.Errorf("the example complains:\n%s", out)
	}
}

func TestTableflipsTCPExampleRunsOnOneChangedLine(t *testing.T) {
	t.Parallel()
	s := startExample(t, "tcp")
	stop, stopped := make(chan struct{}), make(chan struct{})
	answers, empty := 0, 0
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
			}
			text, err := quote(s.HTTP)
			switch {
			case err != nil:
				t.Errorf("a client: %v", err)
				return
			case text == "":
				empty++ // the example doesn't wait for its connections
			default:
				answers++
			}
		}
	}()
	for range exampleUpgrades {
		s.change(buildExamples(t))
	}
	close(stop)
	<-stopped
	t.Logf("%d answers, %d connections without", answers, empty)
	if answers < 100 || empty > exampleUpgrades {
		t.Errorf("%d answers, %d connections without: at most one an upgrade is the example's own fault", answers, empty)
	}
	s.Signal(s.Main(), syscall.SIGKILL)
	s.Gone()
}

// quote asks the example for its wisdom.
func quote(addr string) (string, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return "", err
	}
	text, err := io.ReadAll(conn)
	if err == nil && len(text) > 0 && !strings.HasSuffix(string(text), "potatoes.\n") {
		err = errors.New("cut off: " + string(text))
	}
	return string(text), err
}
