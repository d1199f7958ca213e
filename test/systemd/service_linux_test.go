package systemd

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/handoff-dev/handoff/test/internal/proctest"
	"github.com/handoff-dev/handoff/test/internal/sdbox"
)

// TestMain has more tests at a time than the machine has cores: most of them wait for
// systemd's seconds.
func TestMain(m *testing.M) {
	flag.Parse()
	chosen := false
	flag.Visit(func(f *flag.Flag) {
		chosen = chosen || f.Name == "test.parallel"
	})
	if !chosen {
		_ = flag.Set("test.parallel", strconv.Itoa(3*runtime.GOMAXPROCS(0)))
	}
	proctest.Main(m)
}

const (
	unit     = "graceful.service"
	program  = "/usr/local/bin/graceful"
	httpAddr = "127.0.0.1:8080"
	unixPath = "/run/graceful.sock"
	udpAddr  = "127.0.0.1:5353"
)

// quick is for tests of many upgrades; the program's own probation is a second.
const quick = "-probation=50ms"

// A service is examples/graceful in a box.
type service struct {
	*sdbox.Box
	t testing.TB
}

// install boots a box with the example, its service unit and other units.
func install(t *testing.T, units ...map[string]string) service {
	t.Helper()
	return installProgram(t, build(t, "1"), units...)
}

// installKeeper is install with the program keeper in the place of the example.
func installKeeper(t *testing.T, units ...map[string]string) service {
	t.Helper()
	return installProgram(t, proctest.Build(t, proctest.Program{Package: "./keeper"}), units...)
}

func installProgram(t *testing.T, file string, units ...map[string]string) service {
	t.Helper()
	all := map[string]string{
		unit: example(t, unit),
		// systemd forgets how a service ended unless another unit mentions it.
		"test.target.d/mention.conf": "[Unit]\nAfter=" + unit + "\n",
	}
	for _, more := range units {
		maps.Copy(all, more)
	}
	return service{t: t, Box: sdbox.Start(t, sdbox.Options{
		Root:  os.Getenv(rootVariable),
		Units: all,
		Files: map[string]string{program: file},
	})}
}

func build(t testing.TB, version string) string {
	t.Helper()
	return proctest.Build(t, proctest.Program{Package: "./examples/graceful", Dir: "../..", Ldflags: "-X main.version=" + version})
}

// example returns a file of examples/graceful.
func example(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../examples/graceful", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// flags is a drop-in that starts the program with arguments.
func flags(args ...string) map[string]string {
	return setting("flags", "ExecStart=\nExecStart="+program+" "+strings.Join(args, " "))
}

// setting is a drop-in with lines for the service.
func setting(name, lines string) map[string]string {
	return map[string]string{unit + ".d/" + name + ".conf": "[Service]\n" + lines + "\n"}
}

// httpSocket is the socket unit of the example.
func httpSocket(t testing.TB) map[string]string {
	return map[string]string{"graceful.socket": example(t, "graceful.socket")}
}

// allSockets are three socket units, as three names need.
func allSockets(t testing.TB) map[string]string {
	return map[string]string{
		"graceful.socket":      example(t, "graceful.socket"),
		"graceful-unix.socket": "[Socket]\nListenStream=" + unixPath + "\nFileDescriptorName=unix\nService=" + unit + "\n",
		"graceful-udp.socket":  "[Socket]\nListenDatagram=" + udpAddr + "\nFileDescriptorName=udp\nService=" + unit + "\n",
	}
}

// elsewhere are flags for a service with allSockets. A server that doesn't go by the
// names would bind these addresses, where nobody asks, and fail.
var elsewhere = []string{"-http=127.0.0.1:1", "-unix=/nonexistent/socket", "-udp=127.0.0.1:1"}

// ownSockets are flags for a service without a socket unit.
func ownSockets() map[string]string {
	return flags("-http="+httpAddr, "-unix="+unixPath, "-udp="+udpAddr, quick)
}

// startSockets starts the socket units, and only those.
func (s service) startSockets(units map[string]string) {
	s.t.Helper()
	s.Do(append([]string{"start"}, slices.Sorted(maps.Keys(units))...)...)
	if state := s.Show(unit, "ActiveState"); state != "inactive" {
		s.t.Fatalf("the service is %s before the first connection", state)
	}
}

// reply is what the program says of itself.
type reply struct {
	pid, generation int
	version         string
}

func parseReply(text string) (r reply, err error) {
	_, err = fmt.Sscanf(text, "pid=%d generation=%d version=%s", &r.pid, &r.generation, &r.version)
	if err != nil {
		err = fmt.Errorf("the answer is %q: %w", text, err)
	}
	return r, err
}

// client returns a client of the service's HTTP on a network, "tcp" or "unix".
func (s service) client(network string) *http.Client {
	address := map[string]string{"tcp": httpAddr, "unix": unixPath}[network]
	transport := &http.Transport{}
	transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		return s.DialContext(ctx, network, address)
	}
	s.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: time.Minute}
}

// ask sends a request on a new connection.
func (s service) ask(network string) (reply, error) {
	c := s.client(network)
	defer c.CloseIdleConnections()
	text, err := fetch(c, "/")
	if err != nil {
		return reply{}, err
	}
	return parseReply(text)
}

func fetch(c *http.Client, path string) (string, error) {
	resp, err := c.Get("http://graceful" + path)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	return string(text), err
}

// askUDP returns the pid of the process that answers a datagram.
func (s service) askUDP() (pid int, err error) {
	c, err := s.DialContext(context.Background(), "udp", udpAddr)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	if err := c.SetDeadline(proctest.Deadline(s.t)); err != nil {
		return 0, err
	}
	if _, err := io.WriteString(c, "hello"); err != nil {
		return 0, err
	}
	buf := make([]byte, 100)
	n, err := c.Read(buf)
	if err != nil {
		return 0, err
	}
	_, err = fmt.Sscanf(string(buf[:n]), "hello pid=%d", &pid)
	return pid, err
}

// reached waits until a generation is the main process and serves, and systemd knows it.
func (s service) reached(generation int) (main reply) {
	s.t.Helper()
	proctest.Until(s.t, fmt.Sprintf("generation %d to be the main one", generation), func() error {
		r, err := s.ask("tcp")
		if err != nil {
			s.t.Fatalf("while generation %d was awaited a request failed: %v", generation, err)
		}
		if pid := s.MainPID(unit); r.generation != generation || pid != r.pid {
			return fmt.Errorf("generation %d serves as pid %d, the main process is %d", r.generation, r.pid, pid)
		}
		// It serves a moment before systemd has heard that it is ready, and a reload of a
		// service that is starting does nothing.
		if state := s.Show(unit, "ActiveState"); state != "active" {
			return fmt.Errorf("generation %d serves, and the service is %s", generation, state)
		}
		main = r
		return nil
	})
	return main
}

// upgrade upgrades by systemctl reload, and returns the next generation.
func (s service) upgrade(to int) (main reply) {
	s.t.Helper()
	s.Wait(unit, "ActiveState", "active")
	s.Do("reload", unit)
	return s.reached(to)
}

// alone waits until a process is the only one of the service.
func (s service) alone(pid int) {
	s.t.Helper()
	proctest.Until(s.t, "the older generations to end", func() error {
		if pids := s.Processes(unit); len(pids) != 1 || pids[0] != pid {
			return fmt.Errorf("the service's processes are %v, the main one is %d", pids, pid)
		}
		return nil
	})
}

// ended checks that the service has been stopped in order, and that nothing of it lives.
func (s service) ended() {
	s.t.Helper()
	for property, want := range map[string]string{"ActiveState": "inactive", "Result": "success", "ExecMainCode": "1", "ExecMainStatus": "0", "NRestarts": "0"} {
		if got := s.Show(unit, property); got != want {
			s.t.Errorf("after the stop %s is %s, want %s", property, got, want)
		}
	}
	if pids := s.Processes(unit); len(pids) != 0 {
		s.t.Errorf("processes %v have outlived the stop", pids)
	}
	if log := s.Journal(unit); strings.Contains(log, "SIGKILL") {
		s.t.Error("the journal tells of a SIGKILL")
	}
}

// logged waits for a text in the journal of the service.
func (s service) logged(text string) {
	s.t.Helper()
	proctest.Until(s.t, fmt.Sprintf("%q in the journal", text), func() error {
		if !strings.Contains(s.Journal(unit), text) {
			return errors.New("it is not there")
		}
		return nil
	})
}
