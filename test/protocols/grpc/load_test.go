//go:build linux

package grpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/handoff-dev/handoff/examples/grpc/echo"
	"github.com/handoff-dev/handoff/test/internal/proctest"
)

// A load calls a server until it is stopped, with a client that has its default
// settings: no retry policy, no waiting for a server to be ready.
type load struct {
	addr string
	end  context.Context
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu    sync.Mutex
	tally map[string]*tally
	pids  map[int64]bool
}

// tally is what came of one kind of calls.
type tally struct {
	ok, failed int
	errs       []string // the first
}

func (l *load) count(kind string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.tally[kind]
	if t == nil {
		t = &tally{}
		l.tally[kind] = t
	}
	if err == nil {
		t.ok++
		return
	}
	t.failed++
	if len(t.errs) < 5 {
		t.errs = append(t.errs, time.Now().Format("15:04:05.000 ")+err.Error())
	}
}

func (l *load) saw(n *echo.Note) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pids[n.GetPid()] = true
}

// startLoad starts workers of each kind.
func startLoad(t *testing.T, addr string) *load {
	l := &load{addr: addr, tally: make(map[string]*tally), pids: make(map[int64]bool)}
	l.end, l.stop = context.WithCancel(context.Background())
	t.Cleanup(l.stop)
	for _, worker := range []func(*testing.T, echo.EchoClient){l.says, l.counts, l.chats} {
		for range 2 {
			conn := dial(t, addr)
			for range 3 {
				l.wg.Go(func() { worker(t, echo.NewEchoClient(conn)) })
			}
		}
	}
	for range 2 {
		l.wg.Go(func() { l.newcomers(t) })
	}
	return l
}

func dial(t *testing.T, addr string) *grpc.ClientConn {
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// result waits until all calls have ended.
func (l *load) result() map[string]*tally {
	l.stop()
	l.wg.Wait()
	return l.tally
}

const patience = 30 * time.Second

// says calls one after another.
func (l *load) says(t *testing.T, c echo.EchoClient) {
	for i := int64(0); l.end.Err() == nil; i++ {
		l.count("unary", l.say(c, i))
	}
}

func (l *load) say(c echo.EchoClient, i int64) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	n, err := c.Say(ctx, &echo.Note{Number: i})
	if err == nil && n.GetNumber() != i {
		err = fmt.Errorf("note %d was answered by %d", i, n.GetNumber())
	}
	l.saw(n)
	return err
}

// newcomers make a connection for each call.
func (l *load) newcomers(t *testing.T) {
	for i := int64(0); l.end.Err() == nil; i++ {
		conn, err := grpc.NewClient(l.addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err == nil {
			err = l.say(echo.NewEchoClient(conn), i)
			conn.Close()
		}
		l.count("unary on a new connection", err)
	}
}

// counts reads streams that outlast some upgrades, and come from one process.
func (l *load) counts(t *testing.T, c echo.EchoClient) {
	for l.end.Err() == nil {
		l.count("server stream", l.countTo(c, 100, 15*time.Millisecond))
	}
}

func (l *load) countTo(c echo.EchoClient, notes int64, interval time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	in, err := c.Count(ctx, &echo.CountRequest{Notes: notes, IntervalMs: interval.Milliseconds()})
	if err != nil {
		return err
	}
	var pid int64
	for i := range notes {
		n, err := in.Recv()
		if err != nil {
			return fmt.Errorf("after %d of %d notes: %w", i, notes, err)
		}
		if pid == 0 {
			pid = n.GetPid()
		}
		if n.GetNumber() != i || n.GetPid() != pid {
			return fmt.Errorf("note %d of process %d comes as %d of process %d", i, pid, n.GetNumber(), n.GetPid())
		}
	}
	if _, err = in.Recv(); errors.Is(err, io.EOF) {
		return nil
	}
	return fmt.Errorf("after the last note: %v", err)
}

// chats sends numbered notes, and goes on in a new chat when the server ends one.
func (l *load) chats(t *testing.T, c echo.EchoClient) {
	for next := int64(0); l.end.Err() == nil; {
		err := l.chat(c, &next)
		l.count("chat", err)
		if err != nil {
			return
		}
	}
}

func (l *load) chat(c echo.EchoClient, next *int64) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	chat, err := c.Chat(ctx)
	if err != nil {
		return err
	}
	for ; l.end.Err() == nil; *next++ {
		if err := chat.Send(&echo.Note{Number: *next}); err != nil && !errors.Is(err, io.EOF) {
			return err // at io.EOF Recv tells more
		}
		n, err := chat.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil && n.GetNumber() != *next {
			err = fmt.Errorf("it has number %d", n.GetNumber())
		}
		if err != nil {
			return fmt.Errorf("the answer to note %d: %w", *next, err)
		}
		l.saw(n)
		l.count("note in a chat", nil)
	}
	return chat.CloseSend()
}

// awaitProcess waits until a process has answered.
func (l *load) awaitProcess(t *testing.T, pid int) {
	t.Helper()
	proctest.Until(t, fmt.Sprintf("process %d answers", pid), func() error {
		l.mu.Lock()
		defer l.mu.Unlock()
		if !l.pids[int64(pid)] {
			return errors.New("it has not")
		}
		return nil
	})
}
