package systemd

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/handoff-dev/handoff/test/internal/proctest"
)

// files asks keeper for its descriptors: the lines of each name, without the name.
func (s service) files() map[string][]string {
	s.t.Helper()
	c := s.client("tcp")
	defer c.CloseIdleConnections()
	text, err := fetch(c, "/files")
	if err != nil {
		s.t.Fatal(err)
	}
	found := map[string][]string{}
	for line := range strings.Lines(text) {
		name, rest, _ := strings.Cut(strings.TrimSpace(line), "\t")
		found[name] = append(found[name], rest)
	}
	return found
}

// generationAt returns the generation that answers on another port than the usual one.
func (s service) generationAt(address string) (reply, error) {
	conn, err := s.DialContext(proctest.Context(s.t), "tcp", address)
	if err != nil {
		return reply{}, err
	}
	defer conn.Close()
	if err := sendGet(conn, "/"); err != nil {
		return reply{}, err
	}
	text, err := readAnswer(bufio.NewReader(conn))
	if err != nil {
		return reply{}, err
	}
	return parseReply(text)
}

func TestSocketsThatShareANameAreAllHandedOn(t *testing.T) {
	t.Parallel()
	ports := []string{"127.0.0.1:8080", "127.0.0.1:8081", "127.0.0.1:8082"}
	for name, units := range map[string]map[string]string{
		"of one unit": {
			"graceful.socket": "[Socket]\nListenStream=" + strings.Join(ports, "\nListenStream=") + "\nFileDescriptorName=http\n",
		},
		"of three units": {
			"graceful.socket":   "[Socket]\nListenStream=" + ports[0] + "\nFileDescriptorName=http\n",
			"graceful-b.socket": "[Socket]\nListenStream=" + ports[1] + "\nFileDescriptorName=http\nService=" + unit + "\n",
			"graceful-c.socket": "[Socket]\nListenStream=" + ports[2] + "\nFileDescriptorName=http\nService=" + unit + "\n",
		},
		"of its own": {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := installKeeper(t, units, flags("-listeners=3"))
			if len(units) > 0 {
				s.startSockets(units)
			} else {
				s.Do("start", unit)
			}
			everywhere := func(generation int) {
				t.Helper()
				want := s.reached(generation)
				for _, port := range ports {
					if r, err := s.generationAt(port); err != nil || r != want {
						t.Errorf("on %s %+v answers (%v), want %+v", port, r, err, want)
					}
				}
			}
			everywhere(1)
			before := s.files()["http"]
			slices.Sort(before)
			if len(slices.Compact(slices.Clone(before))) != 3 {
				t.Fatalf("the sockets are %v, want three", before)
			}
			for generation := 2; generation <= 4; generation++ {
				s.upgrade(generation)
				everywhere(generation)
			}
			s.crash()
			everywhere(1)
			s.Do("restart", unit)
			everywhere(1)
			after := s.files()["http"]
			slices.Sort(after)
			if !slices.Equal(before, after) {
				t.Errorf("the sockets are %v, they were %v", after, before)
			}
		})
	}
}

func TestAServicePerConnectionGetsItsConnection(t *testing.T) {
	t.Parallel()
	for title, setting := range map[string]string{"without a name": "", "with a name": "FileDescriptorName=caller\n"} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			s := installKeeper(t, map[string]string{
				"each.socket":   "[Socket]\nAccept=yes\nListenStream=127.0.0.1:7\nListenStream=/run/each\n" + setting,
				"each@.service": "[Service]\nExecStart=" + program + " -once\n",
			})
			s.Do("start", "each.socket")
			name := "connection"
			if setting != "" && version(t, s.Box) >= 257 { // 252 doesn't heed it
				name = "caller"
			}
			for network, address := range map[string]string{"tcp": "127.0.0.1:7", "unix": "/run/each"} {
				conn, err := s.DialContext(proctest.Context(t), network, address)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				if err := conn.SetDeadline(proctest.Deadline(t)); err != nil {
					t.Fatal(err)
				}
				fmt.Fprintln(conn, "hello")
				text, err := io.ReadAll(conn) // the service ends with it
				if err != nil {
					t.Fatal(err)
				}
				peer := ""
				if network == "tcp" {
					peer, _, _ = net.SplitHostPort(conn.LocalAddr().String())
				}
				if want := fmt.Sprintf("1 descriptor %s peer %s: hello\n", name, peer); string(text) != want {
					t.Errorf("%s: the answer is %q, want %q", network, text, want)
				}
			}
		})
	}
}

func TestFIFOsAndSpecialFilesAreHandedOn(t *testing.T) {
	t.Parallel()
	const fifo, special = "/run/graceful.fifo", "/dev/random"
	units := httpSocket(t)
	units["graceful-fifo.socket"] = "[Socket]\nListenFIFO=" + fifo + "\nFileDescriptorName=fifo\nService=" + unit + "\n"
	units["graceful-special.socket"] = "[Socket]\nListenSpecial=" + special + "\nFileDescriptorName=special\nService=" + unit + "\n"
	s := installKeeper(t, units, flags("-keep=fifo,special"))
	s.Do("start", "graceful.socket", "graceful-fifo.socket")
	s.Do("start", "graceful-special.socket") // the last, for it is readable, and starts the service
	s.reached(1)
	for _, step := range []struct {
		generation int
		how        string
	}{{1, ""}, {2, "reload"}, {3, "reload"}, {4, "reload"}, {1, "restart"}, {2, "reload"}, {1, "crash"}, {2, "reload"}} {
		generation := step.generation
		switch step.how {
		case "reload":
			s.alone(s.upgrade(generation).pid)
		case "restart":
			s.Do("restart", unit)
			s.reached(generation)
		case "crash":
			s.crash()
			s.reached(generation)
		}
		held := s.files()
		for name, path := range map[string]string{"fifo": fifo, "special": special} {
			info, err := os.Stat(s.Path(path))
			if err != nil {
				t.Fatal(err)
			}
			want := fmt.Sprintf("*os.File\t%d", info.Sys().(*syscall.Stat_t).Ino)
			if got := held[name]; len(got) != 1 || got[0] != want {
				t.Fatalf("generation %d has %s %q, want %q", generation, name, got, want)
			}
		}
		c := s.client("tcp")
		f, err := os.OpenFile(s.Path(fifo), os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(f, "line %d", generation)
		f.Close()
		if text, err := fetch(c, "/read?name=fifo"); err != nil || text != fmt.Sprintf("line %d", generation) {
			t.Errorf("generation %d has read %q from the FIFO after a %s (%v)", generation, text, step.how, err)
		}
		if text, err := fetch(c, "/read?name=special"); err != nil || len(text) != 100 {
			t.Errorf("generation %d has read %q from %s (%v)", generation, text, special, err)
		}
		c.CloseIdleConnections()
	}
}
