//go:build unix

package handoff

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/handoff-dev/handoff/handoff/internal/link"
)

// departure is a mover with the successor's end of its link, and what became of
// its connections.
type departure struct {
	*mover
	other *link.Conn
	from  *listener
	ended chan struct{} // the link's receiver has returned

	mu         sync.Mutex
	back, gone map[*emigrant]int
}

func newDeparture(t *testing.T) *departure {
	t.Helper()
	ours, file, err := link.Pair()
	if err != nil {
		t.Fatal(err)
	}
	other, err := link.OpenFile(file)
	file.Close()
	if err != nil {
		t.Fatal(err)
	}
	d := &departure{other: other, from: gated(t, "tcp", gateOpen), ended: make(chan struct{}), back: map[*emigrant]int{}, gone: map[*emigrant]int{}}
	d.from.name = "http"
	d.mover = newMover(ours, func(e *emigrant) { d.note(d.back, e) })
	t.Cleanup(func() { ours.Close(); other.Close() })
	go (&Upgrader{}).followSuccessor(&successor{link: ours, mover: d.mover, ended: d.ended})
	return d
}

func (d *departure) note(where map[*emigrant]int, e *emigrant) {
	d.mu.Lock()
	defer d.mu.Unlock()
	where[e]++
}

func (d *departure) counts() (back, gone int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, n := range d.back {
		back += n
	}
	for _, n := range d.gone {
		gone += n
	}
	return back, gone
}

// await waits until as many have come back and are gone, each once.
func (d *departure) await(t *testing.T, back, gone int) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		b, g := d.counts()
		if b == back && g == gone {
			break
		}
		if b > back || g > gone || time.Now().After(end) {
			t.Fatalf("%d connections have come back and %d are gone, want %d and %d", b, g, back, gone)
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for e, n := range d.back {
		if n+d.gone[e] != 1 {
			t.Errorf("a connection has come back %d times and is gone %d times", n, d.gone[e])
		}
	}
}

// emigrant is one end of a new connection; the other is its client.
func (d *departure) emigrant(t *testing.T) (*emigrant, net.Conn) {
	t.Helper()
	client := dialTo(t, d.from)
	c, err := d.from.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	e := &emigrant{conn: c.(socketConn), from: d.from}
	e.gone = func() { d.note(d.gone, e) }
	return e, client
}

// next is what the successor receives.
func (d *departure) next(t *testing.T) (link.Connection, *os.File) {
	t.Helper()
	d.other.SetReadDeadline(time.Now().Add(10 * time.Second))
	m, err := d.other.Receive()
	if err != nil {
		t.Fatal(err)
	}
	var c link.Connection
	if err := m.Decode(&c); err != nil || m.Kind != link.KindConnection || len(m.Files) != 1 {
		t.Fatalf("got kind %d with %d files: %v", m.Kind, len(m.Files), err)
	}
	t.Cleanup(m.Close)
	return c, m.Files[0]
}

func (d *departure) answer(t *testing.T, id uint64, taken bool) {
	t.Helper()
	if err := d.other.Send(10*time.Second, link.KindTaken, link.Taken{ID: id, Taken: taken}); err != nil {
		t.Fatal(err)
	}
}

func TestAConnectionIsGoneWhenItWasAcknowledgedAndNotBefore(t *testing.T) {
	t.Parallel()
	d := newDeparture(t)
	e, client := d.emigrant(t)
	d.send(e)
	c, file := d.next(t)
	if c.Name != "http" || c.Address != d.from.Addr().String() {
		t.Errorf("it comes from %q, %q", c.Name, c.Address)
	}
	if b, g := d.counts(); b+g > 0 {
		t.Error("it is settled without an answer")
	}
	if _, err := e.conn.Write([]byte("a")); err != nil {
		t.Errorf("it was closed here before the answer: %v", err)
	}
	d.answer(t, c.ID+1, true) // of no connection
	d.answer(t, c.ID, true)
	d.answer(t, c.ID, false) // too late
	d.await(t, 0, 1)
	if _, err := e.conn.Write([]byte("b")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after the answer it is open here: %v", err)
	}
	if _, err := file.Write([]byte("c")); err != nil {
		t.Error(err)
	}
	file.Close()
	got := make([]byte, 2)
	client.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.ReadFull(client, got); err != nil || string(got) != "ac" {
		t.Errorf("the client has read %q: %v", got, err)
	}
}

func TestARefusedConnectionComesBack(t *testing.T) {
	t.Parallel()
	d := newDeparture(t)
	e, _ := d.emigrant(t)
	d.send(e)
	c, _ := d.next(t)
	d.answer(t, c.ID, false)
	d.await(t, 1, 0)
	d.other.Close()
	d.await(t, 1, 0)
	if _, err := e.conn.Write([]byte("a")); err != nil {
		t.Errorf("it was closed: %v", err)
	}
}

func TestAtTheSuccessorsDeathWhatWasNotAcknowledgedComesBackOnce(t *testing.T) {
	t.Parallel()
	const all, taken = underWay + 36, 10
	d := newDeparture(t)
	var sending sync.WaitGroup
	for range all {
		e, _ := d.emigrant(t)
		sending.Go(func() { d.send(e) })
	}
	for range taken {
		c, _ := d.next(t)
		d.answer(t, c.ID, true)
	}
	d.other.Close() // with messages that were not read
	sending.Wait()
	d.await(t, all-taken, taken)
	e, _ := d.emigrant(t)
	d.send(e)
	d.await(t, all-taken+1, taken)
}

func TestASuccessorThatIsStoppedKeepsOnlyWhatWasSentToIt(t *testing.T) {
	t.Parallel()
	d := newDeparture(t)
	d.wait = 200 * time.Millisecond
	const more = 20
	var sending sync.WaitGroup
	for range underWay + more {
		e, _ := d.emigrant(t)
		sending.Go(func() { d.send(e) })
	}
	sending.Wait()
	d.await(t, more, 0) // what was sent may be taken later: two must not serve it
	for range underWay {
		c, _ := d.next(t)
		d.answer(t, c.ID, true)
	}
	d.await(t, more, underWay)
	e, _ := d.emigrant(t)
	d.send(e)
	c, _ := d.next(t)
	d.answer(t, c.ID, true)
	d.await(t, more, underWay+1)
}

func TestAConnectionThatCanNotBeSentComesBackAlone(t *testing.T) {
	t.Parallel()
	d := newDeparture(t)
	sent, _ := d.emigrant(t)
	d.send(sent)
	broken, _ := d.emigrant(t)
	broken.conn.Close()
	d.send(broken)
	d.await(t, 1, 0)
	c, _ := d.next(t)
	d.answer(t, c.ID, true)
	d.await(t, 1, 1)
}

// What comes from an older generation has to find its listener.
func TestAConnectionIsTakenAtTheListenerItComesFrom(t *testing.T) {
	t.Parallel()
	u := newUpgrader(t, Options{})
	n, srv := answering("here")
	ln, err := u.Listen("http", "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served(t, u, Serve(srv, ln))
	ours, file, err := link.Pair()
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := link.OpenFile(file)
	file.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	r := &relative{conn: theirs}
	go u.followRelative(r)
	var refused atomic.Int64
	back := make(chan *emigrant, 1)
	m := newMover(ours, func(e *emigrant) { refused.Add(1); back <- e })
	go u.followSuccessor(&successor{link: ours, mover: m})
	defer ours.Close()
	elsewhere := gated(t, "tcp", gateOpen)
	for _, name := range []string{"http", "other"} {
		client := rawDial(t, elsewhere)
		c, err := elsewhere.Accept()
		if err != nil {
			t.Fatal(err)
		}
		elsewhere.name = name
		gone := make(chan struct{})
		m.send(&emigrant{conn: c.(socketConn), from: elsewhere, gone: func() { close(gone) }})
		if name == "other" {
			until(t, back, "the refusal").conn.Close()
			continue
		}
		until(t, gone, "the acknowledgement")
		for range 2 {
			client.send(t)
			if text, last := client.answer(t); text != "here" || last {
				t.Errorf("got %q, last: %v", text, last)
			}
		}
	}
	if n.Load() != 2 || refused.Load() != 1 {
		t.Errorf("%d requests were served and %d connections refused, want 2 and 1", n.Load(), refused.Load())
	}
}
