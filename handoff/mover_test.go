//go:build unix

package handoff

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

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
	d.mover = newMover(ours, underWay, func(e *emigrant) { d.note(d.back, e) })
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
func (d *departure) next(t *testing.T) (link.Connections, []int) {
	t.Helper()
	d.other.SetReadDeadline(time.Now().Add(10 * time.Second))
	m, err := d.other.Receive()
	if err != nil {
		t.Fatal(err)
	}
	var c link.Connections
	if err := m.Decode(&c); err != nil || m.Kind != link.KindConnections || len(m.Sockets) == 0 || len(m.Sockets) > inOneMessage {
		t.Fatalf("got kind %d with %d sockets: %v", m.Kind, len(m.Sockets), err)
	}
	t.Cleanup(m.Close)
	return c, m.Sockets
}

func (d *departure) answer(t *testing.T, first uint64, taken int) {
	t.Helper()
	if err := d.other.Send(10*time.Second, link.KindTaken, link.Taken{First: first, Taken: taken}); err != nil {
		t.Fatal(err)
	}
}

// crowd has n connections fetched, and returns how many of them were asked for.
func (d *departure) crowd(t *testing.T, n int) *atomic.Int64 {
	t.Helper()
	all := make([]*emigrant, n)
	for i := range all {
		all[i], _ = d.emigrant(t)
	}
	var asked atomic.Int64
	d.fetch(func(most int) (some []*emigrant) {
		some, all = all[:min(most, len(all))], all[min(most, len(all)):]
		asked.Add(int64(len(some)))
		return some
	})
	return &asked
}

func TestAConnectionIsGoneWhenItWasAcknowledgedAndNotBefore(t *testing.T) {
	t.Parallel()
	d := newDeparture(t)
	e, client := d.emigrant(t)
	d.send(e)
	c, sockets := d.next(t)
	if c.Name != "http" || c.Address != d.from.Addr().String() {
		t.Errorf("it comes from %q, %q", c.Name, c.Address)
	}
	if b, g := d.counts(); b+g > 0 {
		t.Error("it is settled without an answer")
	}
	own := e.conn.(net.Conn)
	if _, err := own.Write([]byte("a")); err != nil {
		t.Errorf("it was closed here before the answer: %v", err)
	}
	d.answer(t, c.First+1, 1) // of no connection
	d.answer(t, c.First, 1)
	d.answer(t, c.First, 0) // too late
	d.await(t, 0, 1)
	if _, err := own.Write([]byte("b")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after the answer it is open here: %v", err)
	}
	if _, err := unix.Write(sockets[0], []byte("c")); err != nil {
		t.Error(err)
	}
	if err := unix.Shutdown(sockets[0], unix.SHUT_WR); err != nil {
		t.Error(err)
	}
	client.SetReadDeadline(time.Now().Add(10 * time.Second))
	if got, err := io.ReadAll(client); err != nil || string(got) != "ac" {
		t.Errorf("the client has read %q: %v", got, err)
	}
}

func TestWhatIsRefusedOfAMessageComesBack(t *testing.T) {
	t.Parallel()
	for _, taken := range []int{-1, 0, 1, 9, 10, 11} {
		d := newDeparture(t)
		d.crowd(t, 10)
		c, _ := d.next(t)
		d.answer(t, c.First, taken)
		taken = min(max(taken, 0), 10)
		d.await(t, 10-taken, taken)
		d.other.Close()
		d.await(t, 10-taken, taken)
		for e := range d.back {
			if _, err := e.conn.(net.Conn).Write([]byte("a")); err != nil {
				t.Errorf("it was closed: %v", err)
			}
		}
	}
}

func TestConnectionsThatLeaveTogetherGoInFewMessages(t *testing.T) {
	t.Parallel()
	d := newDeparture(t)
	const all = 3*inOneMessage + 7
	d.crowd(t, all)
	for n, messages := 0, 0; n < all; messages++ {
		c, sockets := d.next(t)
		d.answer(t, c.First, len(sockets))
		if n += len(sockets); messages == 4 {
			t.Fatalf("%d connections in %d messages", n, messages+1)
		}
	}
	d.await(t, 0, all)
}

func TestAtTheSuccessorsDeathWhatWasNotAcknowledgedComesBackOnce(t *testing.T) {
	t.Parallel()
	const crowd, single = (underWay+2)*inOneMessage + 36, 20
	d := newDeparture(t)
	d.crowd(t, crowd)
	c, sockets := d.next(t)
	d.answer(t, c.First, len(sockets))
	d.await(t, 0, len(sockets))
	for range single {
		e, _ := d.emigrant(t)
		d.send(e)
	}
	d.other.Close() // with messages that were not read
	d.await(t, crowd+single-len(sockets), len(sockets))
	e, _ := d.emigrant(t)
	d.send(e)
	d.await(t, crowd+single-len(sockets)+1, len(sockets))
}

func TestASuccessorThatIsStoppedKeepsOnlyWhatWasSentToIt(t *testing.T) {
	t.Parallel()
	d := newDeparture(t)
	d.wait = 200 * time.Millisecond
	const sent, more = underWay * inOneMessage, 20
	asked := d.crowd(t, sent+more)
	for end := time.Now().Add(10 * time.Second); asked.Load() < sent && time.Now().Before(end); time.Sleep(time.Millisecond) {
	}
	if n := asked.Load(); n != sent {
		t.Errorf("%d connections were asked for, with room for %d", n, sent)
	}
	d.await(t, more, 0) // what was sent may be taken later: two must not serve it
	for n := 0; n < sent; {
		c, sockets := d.next(t)
		d.answer(t, c.First, len(sockets))
		n += len(sockets)
	}
	d.await(t, more, sent)
	e, _ := d.emigrant(t)
	d.send(e)
	c, _ := d.next(t)
	d.answer(t, c.First, 1)
	d.await(t, more, sent+1)
}

func TestAConnectionThatCanNotBeSentComesBackAlone(t *testing.T) {
	t.Parallel()
	d := newDeparture(t)
	const all = 9
	var batch []*emigrant
	for range all {
		e, _ := d.emigrant(t)
		batch = append(batch, e)
	}
	batch[5].conn.Close()
	d.fetch(func(int) (some []*emigrant) { some, batch = batch, nil; return some })
	for n := 0; n < all-1; {
		c, sockets := d.next(t)
		d.answer(t, c.First, len(sockets))
		n += len(sockets)
	}
	d.await(t, 1, all-1)
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
	m := newMover(ours, underWay, func(e *emigrant) { refused.Add(1); back <- e })
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
