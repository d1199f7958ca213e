//go:build linux

package chat

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/handoff-dev/handoff/test/internal/proctest"
)

func TestMain(m *testing.M) { proctest.Main(m) }

// service is the chat server in all its generations.
type service struct {
	t       *testing.T
	address string
	pidFile string
	first   *proctest.Process
	others  []*proctest.Adopted
	log     journal
}

// journal is what all generations write.
type journal struct {
	mu   sync.Mutex
	text []byte
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.text = append(j.text, p...)
	return len(p), nil
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return string(j.text)
}

func start(t *testing.T, flags ...string) *service {
	t.Helper()
	path := proctest.Build(t, proctest.Program{Package: "github.com/handoff-dev/handoff/examples/chat", Race: true})
	s := &service{t: t, address: fmt.Sprintf("127.0.0.1:%d", proctest.FreePort(t)), pidFile: filepath.Join(t.TempDir(), "pid")}
	return s.start(proctest.Command(path, append([]string{"-listen", s.address, "-pid-file", s.pidFile}, flags...)...))
}

func (s *service) start(cmd *exec.Cmd) *service {
	t := s.t
	t.Helper()
	cmd.Stderr = &s.log
	s.first = proctest.Start(t, cmd)
	s.first.Until("the server is ready", func() error { _, err := s.pid(); return err })
	return s
}

func (s *service) pid() (int, error) {
	text, err := os.ReadFile(s.pidFile)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}

func (s *service) upgrade() {
	s.t.Helper()
	old, err := s.pid()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := syscall.Kill(old, syscall.SIGHUP); err != nil {
		s.t.Fatal(err)
	}
	proctest.Until(s.t, fmt.Sprintf("a successor of %d takes over", old), func() error {
		pid, err := s.pid()
		if err != nil || pid == old {
			return fmt.Errorf("the PID file says %d: %v", pid, err)
		}
		s.others = append(s.others, proctest.Adopt(s.t, pid))
		return nil
	})
}

func (s *service) stop() {
	s.t.Helper()
	pid, err := s.pid()
	if err == nil {
		err = syscall.Kill(pid, syscall.SIGTERM)
	}
	if err = errors.Join(err, s.first.Wait()); err != nil {
		s.t.Error(err)
	}
	for _, p := range s.others {
		p.Wait()
	}
}

// talker is one client on one connection.
type talker struct {
	nick, room string
	conn       net.Conn
	said       int            // messages, until it stops
	heard      map[string]int // the last number of each sender; the reader's
	numbers    []int          // the server's, of the messages heard; the reader's
	messages   atomic.Int64   // that were heard
	fault      chan error
}

func join(t *testing.T, address, nick, room string) *talker {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	c := &talker{nick: nick, room: room, conn: conn, heard: map[string]int{}, fault: make(chan error, 1)}
	t.Cleanup(func() { conn.Close() })
	in := bufio.NewReader(conn)
	fmt.Fprintf(conn, "/nick %s\n/join %s\n", nick, room)
	conn.SetReadDeadline(proctest.Deadline(t))
	if line, err := in.ReadString('\n'); err != nil || line != "* "+nick+" is in "+room+"\n" {
		t.Fatalf("%s: %q, %v", nick, line, err)
	}
	conn.SetReadDeadline(time.Time{})
	go func() { c.fault <- c.listen(in) }()
	return c
}

// listen reads until the connection ends, and says what was wrong.
func (c *talker) listen(in *bufio.Reader) error {
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return err
		}
		var (
			number, k int
			sender    string
		)
		if _, err := fmt.Sscanf(line, "%d %s m%d of "+c.room+"\n", &number, &sender, &k); err != nil {
			return fmt.Errorf("%s heard %q: %w", c.nick, line, err)
		}
		if want := c.heard[sender] + 1; k != want {
			return fmt.Errorf("%s heard message %d of %s, expected %d", c.nick, k, sender, want)
		}
		if n := len(c.numbers); n > 0 && number <= c.numbers[n-1] {
			return fmt.Errorf("%s heard number %d after %d", c.nick, number, c.numbers[n-1])
		}
		c.heard[sender] = k
		c.numbers = append(c.numbers, number)
		c.messages.Add(1)
	}
}

// talk says a message every few milliseconds, most of them in two parts.
func (c *talker) talk(stop <-chan struct{}) error {
	for tick := time.NewTicker(25 * time.Millisecond); ; {
		line := fmt.Sprintf("m%d of %s\n", c.said+1, c.room)
		cut := c.said % len(line)
		if _, err := c.conn.Write([]byte(line[:cut])); err != nil {
			return err
		}
		<-tick.C
		if _, err := c.conn.Write([]byte(line[cut:])); err != nil {
			return err
		}
		c.said++
		select {
		case <-stop:
			return nil
		default:
		}
	}
}

// conversation is a number of clients in some rooms, who talk.
type conversation struct {
	s       *service
	rooms   int
	all     []*talker
	stop    chan struct{}
	talking sync.WaitGroup
}

func converse(s *service, rooms, talkers int) *conversation {
	c := &conversation{s: s, rooms: rooms, stop: make(chan struct{})}
	for i := range talkers {
		c.all = append(c.all, join(s.t, s.address, fmt.Sprintf("nick%d", i), fmt.Sprintf("room%d", i%rooms)))
	}
	for _, talker := range c.all {
		c.talking.Go(func() {
			if err := talker.talk(c.stop); err != nil {
				s.t.Errorf("%s: %v", talker.nick, err)
			}
		})
	}
	return c
}

// end fails the test unless all have heard all that was said in their room.
func (c *conversation) end() {
	t := c.s.t
	t.Helper()
	close(c.stop)
	c.talking.Wait()
	want, total := make([]int64, c.rooms), 0
	for i, talker := range c.all {
		want[i%c.rooms] += int64(talker.said)
		total += talker.said
	}
	numbers := make(map[int]bool)
	for i, talker := range c.all {
		c.s.await(talker, want[i%c.rooms])
		talker.conn.(*net.TCPConn).CloseWrite()
		if err := <-talker.fault; err != io.EOF {
			t.Errorf("%s: %v", talker.nick, err)
		}
		if i >= c.rooms {
			continue
		}
		for _, n := range talker.numbers { // of one in each room
			if numbers[n] {
				t.Errorf("number %d was given twice", n)
			}
			numbers[n] = true
		}
	}
	if len(numbers) != total || !numbers[total] {
		t.Errorf("%d numbers were given to %d messages", len(numbers), total)
	}
	t.Logf("%d messages were heard by all %d clients of a room", total, len(c.all)/c.rooms)
}

func TestNoMessageIsLostOrDoubledInTwentyUpgradesAndNobodyReconnects(t *testing.T) {
	t.Parallel()
	s := start(t, "-probation", "20ms")
	talk := converse(s, 5, 40)
	for i := range 20 {
		s.upgrade()
		// One who comes at any time is let in.
		late := join(t, s.address, fmt.Sprintf("late%d", i), "another")
		late.conn.Close()
	}
	talk.end()
	s.stop()
	if strings.Contains(s.log.String(), "level=ERROR") {
		t.Errorf("the server is not content:\n%s", &s.log)
	}
}

func TestAnUpgradeThatFailsForTheStateDoesNotDisturbTheTalk(t *testing.T) {
	t.Parallel()
	s := start(t, "-probation", "20ms")
	talk := converse(s, 2, 8)
	pid := s.first.Pid()
	limit := func(bytes uint64) {
		t.Helper()
		if err := unix.Prlimit(pid, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: bytes, Max: unix.RLIM_INFINITY}, nil); err != nil {
			t.Fatal(err)
		}
	}
	limit(1) // so that the last word can't be written
	for i := range 3 {
		s.first.Signal(syscall.SIGHUP)
		s.first.Until("the upgrade fails", func() error {
			if n := strings.Count(s.log.String(), "upgrade failed (state)"); n <= i {
				return fmt.Errorf("%d upgrades have failed", n)
			}
			return nil
		})
		heard := talk.all[0].messages.Load()
		s.await(talk.all[0], heard+10)
	}
	limit(unix.RLIM_INFINITY)
	s.upgrade()
	talk.end()
	s.stop()
}

// await waits until a client has heard as many messages.
func (s *service) await(c *talker, want int64) {
	s.t.Helper()
	proctest.Until(s.t, c.nick+" has heard them", func() error {
		select {
		case err := <-c.fault:
			s.t.Fatal(err)
		default:
		}
		if got := c.messages.Load(); got < want {
			return fmt.Errorf("%d messages of %d", got, want)
		}
		return nil
	})
}

func TestMoreClientsThanThereAreDescriptorsStopNobodyElsesTalk(t *testing.T) {
	path := proctest.Build(t, proctest.Program{Package: "github.com/handoff-dev/handoff/examples/chat", Race: true})
	s := &service{t: t, address: fmt.Sprintf("127.0.0.1:%d", proctest.FreePort(t)), pidFile: filepath.Join(t.TempDir(), "pid")}
	s.start(proctest.Command("sh", "-c", `ulimit -n 64; exec "$0" "$@"`, path, "-listen", s.address, "-pid-file", s.pidFile))
	defer s.stop()
	var crowd []net.Conn
	for range 80 {
		conn, err := net.Dial("tcp", s.address)
		if err != nil {
			t.Fatal(err)
		}
		crowd = append(crowd, conn)
	}
	s.first.Until("the descriptors run out", func() error {
		if !strings.Contains(s.log.String(), "too many open files") {
			return errors.New("they have not")
		}
		return nil
	})
	for _, conn := range crowd {
		conn.Close()
	}
	late, err := net.Dial("tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	defer late.Close()
	late.SetDeadline(proctest.Deadline(t))
	fmt.Fprint(late, "/nick late\nhello\n")
	for in := bufio.NewReader(late); ; {
		line, err := in.ReadString('\n')
		if err != nil {
			t.Fatalf("nobody answers: %v", err)
		}
		if strings.Contains(line, "late: hello") {
			return
		}
	}
}
