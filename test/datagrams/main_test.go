//go:build linux

package datagrams

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/handoff-dev/handoff/test/internal/graceful"
	"github.com/handoff-dev/handoff/test/internal/proctest"
)

func TestMain(m *testing.M) { proctest.Main(m) }

// service is test/datagrams/echo in all its generations.
type service struct {
	*graceful.Server
	network, address string
	health           string
}

// start starts it; network is "udp", "udp6" or "unixgram".
func start(t *testing.T, network string, flags ...string) service {
	t.Helper()
	s := service{Server: graceful.New(t, ""), network: network}
	s.address, s.health = s.UDP, s.PIDFile+".health"
	switch network {
	case "udp6":
		s.address = strings.Replace(s.UDP, "127.0.0.1", "[::1]", 1)
	case "unixgram":
		s.address = s.Unix
	}
	s.Install(proctest.Build(t, proctest.Program{Package: "./echo", Race: true}))
	s.Run(proctest.Command(s.Path, append([]string{"-network", network, "-address", s.address, "-pid-file", s.PIDFile}, flags...)...))
	return s
}

// dial returns a client.
func (s service) dial(t *testing.T) net.Conn {
	t.Helper()
	var d net.Dialer
	if s.network == "unixgram" {
		dir, err := os.MkdirTemp(s.Dir, "")
		if err != nil {
			t.Fatal(err)
		}
		d.LocalAddr = &net.UnixAddr{Net: s.network, Name: filepath.Join(dir, "client")}
	}
	conn, err := d.Dial(s.network, s.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// ask sends one datagram, once, and returns the answer.
func ask(t *testing.T, conn net.Conn, question string) string {
	t.Helper()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte(question)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 64<<10)
	n, err := conn.Read(buf)
	if err != nil {
		t.Fatalf("%.20q got no answer: %v", question, err)
	}
	return string(buf[:n])
}

// flow is a connection of a client.
type flow struct {
	t          *testing.T
	conn       net.Conn
	name       string
	generation string // whose it is
	count      int
}

// open begins a flow and checks whose it is.
func (s service) open(t *testing.T, name string, generation int) *flow {
	t.Helper()
	f := &flow{t: t, conn: s.dial(t), name: name, generation: "0"}
	f.send("hello", generation)
	f.generation = fmt.Sprint(generation)
	return f
}

// awaitReader waits until new flows are a generation's, and nobody else's: under
// -until-commit its predecessor may read for a moment after the PID file names it.
func (s service) awaitReader(t *testing.T, generation int) {
	t.Helper()
	line := fmt.Sprintf("no more new flows generation=%d\n", generation-1)
	s.First.Until(fmt.Sprintf("generation %d reads no more", generation-1), func() error {
		if !strings.Contains(s.First.Output(), line) {
			return errors.New("it does")
		}
		return nil
	})
	conn, want := s.dial(t), fmt.Sprintf("%d 1 hello", generation)
	tries := 0
	proctest.Until(t, fmt.Sprintf("generation %d reads", generation), func() error {
		name := fmt.Sprint("try", tries)
		tries++
		got := ask(t, conn, "0 "+name+" hello")
		reader, _, _ := strings.Cut(got, " ")
		ask(t, conn, reader+" "+name+" bye")
		if got != want {
			return fmt.Errorf("got %q", got)
		}
		return nil
	})
}

// send sends one datagram and checks that the flow's own generation answers it.
func (f *flow) send(word string, generation int) {
	f.t.Helper()
	f.count++
	want := fmt.Sprintf("%d %d %s", generation, f.count, word)
	if word == "bye" {
		want = fmt.Sprintf("%d bye", generation)
	}
	if got := ask(f.t, f.conn, f.generation+" "+f.name+" "+word); got != want {
		f.t.Fatalf("flow %s: got %.40q, want %.40q", f.name, got, want)
	}
}

// begin starts an upgrade and waits until the successor is on probation, which lasts
// until end.
func (s service) begin(t *testing.T) (old int) {
	t.Helper()
	if err := os.RemoveAll(s.health); err != nil {
		t.Fatal(err)
	}
	old = s.Main()
	s.Signal(old, syscall.SIGHUP)
	proctest.Until(t, "a successor is on probation", func() error {
		_, err := os.Stat(s.health + ".asked")
		return err
	})
	if err := os.Remove(s.health + ".asked"); err != nil {
		t.Fatal(err)
	}
	return old
}

// end ends the probation: "ok" has the successor take over, anything else has the
// upgrade fail.
func (s service) end(t *testing.T, outcome string) {
	t.Helper()
	// It is to be there as a whole or not at all.
	if err := os.WriteFile(s.health+".new", []byte(outcome), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(s.health+".new", s.health); err != nil {
		t.Fatal(err)
	}
}
