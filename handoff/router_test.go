//go:build unix

package handoff

import (
	"errors"
	"fmt"
	"net"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/handoff-dev/handoff/handoff/internal/link"
)

// ownerByText reads the generation from a datagram's text: "3 …".
func ownerByText(datagram []byte, _ net.Addr) int {
	first, _, _ := strings.Cut(string(datagram), " ")
	n, _ := strconv.Atoi(first)
	return n
}

// routed returns a routed socket of a generation, and a client.
func routed(t *testing.T, generation int, older ...*outlet) (*router, net.Conn) {
	t.Helper()
	_, g, client := gatedPacket(t, "udp", gateOpen)
	u := &Upgrader{generation: generation, done: make(chan struct{})}
	r := newRouter(u, g, ownerByText, older)
	t.Cleanup(func() { r.Close() })
	return r, client
}

// predecessor returns a routed socket that has handed over, and the way to it.
func predecessor(t *testing.T, generation int) (*router, *outlet) {
	t.Helper()
	r, _ := routed(t, generation)
	all, err := r.outlets(generation)
	if err != nil || len(all) != 1 {
		t.Fatalf("%d ways, %v", len(all), err)
	}
	if err := r.end(); err != nil {
		t.Fatal(err)
	}
	file, err := dupFile(File{Conn: all[0].file})
	if err != nil {
		t.Fatal(err)
	}
	return r, &outlet{generation: generation, file: file}
}

// next reads the next datagram, with who sent it.
func next(t *testing.T, c net.PacketConn) (string, net.Addr) {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 100)
	n, from, err := c.ReadFrom(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n]), from
}

func TestDatagramsGoToTheGenerationWhoseFlowTheyBelongTo(t *testing.T) {
	t.Parallel()
	first, toFirst := predecessor(t, 1)
	second, toSecond := predecessor(t, 2)
	third, client := routed(t, 3, toSecond, toFirst)
	for _, text := range []string{"1 a", "2 b", "1 c", "new", "4 none's", "3 d"} {
		if _, err := client.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []struct {
		reader *router
		text   string
	}{{third, "new"}, {third, "4 none's"}, {third, "3 d"}, {second, "2 b"}, {first, "1 a"}, {first, "1 c"}} {
		text, from := next(t, want.reader)
		if text != want.text || from.String() != client.LocalAddr().String() {
			t.Errorf("got %q from %v, want %q from %v", text, from, want.text, client.LocalAddr())
		}
	}
	// The answer leaves by a socket that is not read any more.
	if _, err := first.WriteTo([]byte("answer"), client.LocalAddr()); err != nil {
		t.Error(err)
	}
}

func TestADatagramOfAGenerationThatIsGoneIsForWhoReadsIt(t *testing.T) {
	t.Parallel()
	first, toFirst := predecessor(t, 1)
	second, client := routed(t, 2, toFirst)
	first.Close()
	fmt.Fprint(client, "1 a")
	if text, _ := next(t, second); text != "1 a" {
		t.Errorf("got %q", text)
	}
	if w := second.ways.Load(); w != nil {
		t.Errorf("there still are %+v", w)
	}
}

// The client's connection is known to nobody here, and must not be told so.
func TestADatagramOfASuccessorsFlowIsLeftToItsRepetition(t *testing.T) {
	t.Parallel()
	r, client := routed(t, 1)
	if _, err := r.outlets(1); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(client, "2 a")
	fmt.Fprint(client, "3 b")
	if text, _ := next(t, r); text != "3 b" {
		t.Errorf("got %q", text)
	}
}

func TestASuccessorGetsTheWaysToAllThatStillLive(t *testing.T) {
	t.Parallel()
	first, toFirst := predecessor(t, 1)
	_, toSecond := predecessor(t, 2)
	r, _ := routed(t, 3, toFirst, toSecond)
	generations := func() (all []int) {
		ways, err := r.outlets(3)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range ways {
			all = append(all, o.generation)
		}
		return all
	}
	if got := generations(); !reflect.DeepEqual(got, []int{3, 2, 1}) {
		t.Errorf("ways to %v", got)
	}
	first.Close()
	if got := generations(); !reflect.DeepEqual(got, []int{3, 2}) {
		t.Errorf("ways to %v after the first has ended", got)
	}
	r.forget(2)
	if got := generations(); !reflect.DeepEqual(got, []int{3}) {
		t.Errorf("ways to %v after the second has ended", got)
	}
	r.Close()
	if got := generations(); got != nil {
		t.Errorf("ways to %v after Close", got)
	}
}

func TestTheWayToAGenerationEndsWithIt(t *testing.T) {
	t.Parallel()
	_, toFirst := predecessor(t, 1)
	_, toSecond := predecessor(t, 2)
	u := newUpgrader(t, Options{})
	conn, err := u.ListenPacketWith("x", "udp", local, PacketOptions{Owner: ownerByText})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	r := conn.(*router)
	r.ways.Store(&ways{older: []*outlet{toFirst, toSecond}})
	end := func(generation int) {
		ours, theirs, err := link.Pair()
		if err != nil {
			t.Fatal(err)
		}
		theirs.Close()
		ended := make(chan struct{})
		u.post(occurrence{run: func() {
			u.lost(&relative{Elder: link.Elder{Generation: generation}, conn: ours})
			close(ended)
		}})
		<-ended
	}
	end(1)
	if w := r.ways.Load(); w == nil || len(w.older) != 1 || w.older[0] != toSecond {
		t.Errorf("after the end of the first: %+v", w)
	}
	if _, err := toFirst.file.Write(nil); !errors.Is(err, os.ErrClosed) {
		t.Errorf("its descriptor: %v, want %v", err, os.ErrClosed)
	}
	end(2)
	if w := r.ways.Load(); w != nil {
		t.Errorf("after the end of both: %+v", w)
	}
}

func TestAGenerationThatDoesNotReadItsDatagramsHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	first, toFirst := predecessor(t, 1)
	defer toFirst.file.Close()
	from := &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1).To4(), Port: 9}
	big := make([]byte, 1400)
	for i := range 20000 {
		copy(big, fmt.Sprintf("%06d", i))
		if !toFirst.send(big, from) {
			t.Fatal("it is taken for dead")
		}
	}
	// What had room is there, in order.
	last := -1
	for range inboxRoom {
		text, _ := next(t, first)
		n, err := strconv.Atoi(text[:6])
		if err != nil || n <= last {
			t.Fatalf("%d after %d, %v", n, last, err)
		}
		last = n
	}
}

func TestEveryReaderIsWokenByWhatIsForwarded(t *testing.T) {
	t.Parallel()
	for _, draining := range []bool{true, false} {
		first, toFirst := predecessor(t, 1)
		defer toFirst.file.Close()
		if !draining {
			first.gate.set(gateOpen) // a successor that failed has forwarded it
		}
		const readers = 8
		got, done := make(chan string), make(chan struct{})
		for range readers {
			go func() {
				b := make([]byte, 10)
				n, _, err := first.ReadFrom(b)
				got <- fmt.Sprint(string(b[:n]), err)
				<-done // it is busy with that one
			}()
		}
		for i := range readers {
			if !toFirst.send([]byte(fmt.Sprint(i)), nil) {
				t.Fatal("it is taken for dead")
			}
		}
		seen := make(map[string]bool)
		for range readers {
			select {
			case text := <-got:
				seen[text] = true
			case <-time.After(10 * time.Second):
				t.Fatalf("draining: %v: only %v came", draining, seen)
			}
		}
		if len(seen) != readers {
			t.Errorf("came: %v", seen)
		}
		close(done)
	}
}

func TestForgedFramesAreNoDatagrams(t *testing.T) {
	t.Parallel()
	first, toFirst := predecessor(t, 1)
	defer toFirst.file.Close()
	for _, frame := range []string{"", "\x00", "\x01\x06abc", "GET / HTTP/1.1"} {
		raw, _ := dupFile(File{Conn: toFirst.file})
		conn, err := net.FileConn(raw)
		raw.Close()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte(frame)); err != nil {
			t.Fatal(err)
		}
		conn.Close()
	}
	toFirst.send([]byte("x"), nil)
	if text, from := next(t, first); text != "x" || from != nil {
		t.Errorf("got %q from %v", text, from)
	}
}

func TestARoutedSocketEndsWhenItsProgramOrItsUpgraderEnds(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*router){
		"Close of the socket":   func(r *router) { r.Close() },
		"Close of the Upgrader": func(r *router) { close(r.up.done) },
	} {
		first, toFirst := predecessor(t, 1)
		defer toFirst.file.Close()
		if err := first.SetDeadline(time.Now().Add(-time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, _, err := first.ReadFrom(nil); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("ReadFrom after the deadline: %v", err)
		}
		if err := first.SetReadDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		read := make(chan error, 1)
		go func() { _, _, err := first.ReadFrom(nil); read <- err }()
		end(first)
		select {
		case err := <-read:
			if !errors.Is(err, net.ErrClosed) {
				t.Errorf("%s: %v, want %v", name, err, net.ErrClosed)
			}
		case <-time.After(10 * time.Second):
			t.Errorf("%s does not end ReadFrom", name)
		}
	}
}

func TestARoutedSocketOfAServiceThatStopsIsReadOn(t *testing.T) {
	t.Parallel()
	r, client := routed(t, 1)
	r.up.main, r.up.ended = true, ErrStopping
	r.gate.set(gatePaused) // a successor was on probation
	if err := r.end(); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(client, "x")
	if text, _ := next(t, r); text != "x" {
		t.Errorf("got %q", text)
	}
}

// Libraries that find ReadMsgUDP go to the descriptor itself.
func TestARoutedSocketHasNoOtherWayToBeRead(t *testing.T) {
	t.Parallel()
	var names []string
	typ := reflect.TypeFor[*router]()
	for i := range typ.NumMethod() {
		names = append(names, typ.Method(i).Name)
	}
	want := []string{"Close", "LocalAddr", "ReadFrom", "SetDeadline", "SetReadBuffer", "SetReadDeadline", "SetWriteBuffer", "SetWriteDeadline", "SyscallConn", "WriteTo"}
	if !reflect.DeepEqual(names, want) {
		t.Errorf("methods %v, want %v", names, want)
	}
}

func TestRoutingAllocatesNothingWithoutOlderGenerations(t *testing.T) {
	c, _, client := gatedPacket(t, "udp", gateOpen)
	r, rclient := routed(t, 2)
	b := make([]byte, 10)
	cost := func(c net.PacketConn, client net.Conn) float64 {
		return testing.AllocsPerRun(100, func() {
			if _, err := client.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
			if _, _, err := c.ReadFrom(b); err != nil {
				t.Fatal(err)
			}
		})
	}
	if plain, routed := cost(c, client), cost(r, rclient); routed > plain {
		t.Errorf("%v allocations to read a datagram, %v without a router", routed, plain)
	}
}

func TestWhoReadsADatagramSocketWhen(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		gates             gateState
		main              bool
		untilCommit, late bool
		want              gateState
	}{
		{gateOpen, true, false, false, gateOpen},
		{gatePaused, true, false, false, gatePaused}, // its successor's probation
		{gatePaused, true, true, false, gateOpen},    // the same, and it reads until the commit
		{gatePaused, false, true, false, gatePaused}, // a successor that isn't ready
		{gateOpen, false, false, true, gatePaused},   // on probation, and its predecessor reads until the commit
		{gateOpen, false, true, true, gatePaused},    // the same
		{gateOpen, true, true, true, gateOpen},       // after the commit, or the predecessor's death
		{gateOpen, false, true, false, gateOpen},     // on probation, with a predecessor that reads until its ready
		{gatePaused, true, true, true, gateOpen},     // it has a successor itself
		{gatePaused, true, false, true, gatePaused},  // the same, which reads from ready on
	} {
		u := &Upgrader{gates: c.gates, main: c.main}
		if got := u.gateFor(&shared{untilCommit: c.untilCommit, late: c.late}); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}
