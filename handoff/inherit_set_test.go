//go:build unix

package handoff

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// named is a descriptor that a test's Set owns.
type named struct {
	name string
	fd   int
}

// setOf makes the Set that these descriptors would have come in.
func setOf(t *testing.T, all ...named) *Set {
	s := &Set{fds: ownFDs}
	for i, n := range all {
		e := Entry{Index: i, FD: n.fd, Name: n.name}
		e.Kind, e.text, e.Addr, e.RemoteAddr = kindOf(n.fd)
		s.slots = append(s.slots, slot{entry: e})
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// dupOf gives a duplicate of c's descriptor, and closes c.
func dupOf(t *testing.T, c io.Closer) int {
	t.Helper()
	sc, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	fd := -1
	if cerr := sc.Control(func(p uintptr) { fd, err = dupFD(int(p)) }); cerr != nil || err != nil {
		t.Fatal(cerr, err)
	}
	if u, ok := c.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false)
	}
	c.Close()
	return fd
}

func tcpFD(t *testing.T) int {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return dupOf(t, ln)
}

func udpFD(t *testing.T) int {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return dupOf(t, c)
}

func unixFD(t *testing.T, network, path string) int {
	ln, err := net.Listen(network, path)
	if err != nil {
		t.Fatal(err)
	}
	return dupOf(t, ln)
}

// unixNetworks are the kinds of unix listener that this system has.
func unixNetworks() []string {
	if runtime.GOOS == "darwin" {
		return []string{"unix"}
	}
	return []string{"unix", "unixpacket"}
}

// wantClosed waits for the last holder of a listener to be gone. Another test may
// be starting a process, which holds everything until it has called exec.
func wantClosed(t *testing.T, addr net.Addr) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		c, err := net.Dial(addr.Network(), addr.String())
		if errors.Is(err, unix.ECONNREFUSED) {
			return
		}
		if err == nil {
			c.Close()
		}
	}
	t.Errorf("%v is still open", addr)
}

func TestANameGivesItsDescriptorsInOrder(t *testing.T) {
	t.Parallel()
	s := setOf(t, named{"web", udpFD(t)}, named{"other", tcpFD(t)}, named{"web", tcpFD(t)}, named{"web", tcpFD(t)})
	var addrs []string
	for e := range s.All() {
		addrs = append(addrs, e.Addr.String())
	}
	for _, want := range addrs[2:] {
		ln, err := s.Listener(ByName("web"))
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		if got := ln.Addr().String(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	_, err := s.Listener(ByName("web"))
	var kind *KindError
	if !errors.As(err, &kind) || !errors.Is(err, ErrWrongKind) || kind.Entry.Kind != KindUDP {
		t.Errorf("with only the UDP socket left: %v", err)
	}
	if want := fmt.Sprintf(`handoff: inherited fd %d "web": UDP socket on %s, and not a listener: take it by PacketConn or UDPConn`,
		kind.Entry.FD, addrs[0]); err.Error() != want {
		t.Errorf("got error %q, want %q", err, want)
	}
	c, err := s.UDPConn(ByName("web")) // it stayed in place
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := s.Listener(ByName("web")); !errors.Is(err, ErrTaken) {
		t.Errorf("with all taken: %v", err)
	}
	if _, err := s.Listener(ByName("wbe")); !errors.Is(err, ErrNotInherited) || !strings.Contains(err.Error(), `"web": TCP listener on `) {
		t.Errorf("with a mistyped name: %v", err)
	}
	if s.Len() != 4 {
		t.Errorf("Len is %d", s.Len())
	}
}

func TestAnIndexGivesThatDescriptorOnce(t *testing.T) {
	t.Parallel()
	s := setOf(t, named{"a", udpFD(t)}, named{"b", tcpFD(t)})
	ln, err := s.TCPListener(ByIndex(1))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if _, err := s.Listener(ByIndex(1)); !errors.Is(err, ErrTaken) {
		t.Errorf("taken: %v", err)
	}
	if _, err := s.Listener(ByIndex(0)); !errors.Is(err, ErrWrongKind) {
		t.Errorf("UDP: %v", err)
	}
	for _, i := range []int{-1, 2} {
		if _, err := s.File(ByIndex(i)); !errors.Is(err, ErrNotInherited) {
			t.Errorf("index %d: %v", i, err)
		}
	}
}

func TestAnEmptySetHasNothing(t *testing.T) {
	t.Parallel()
	var s Set
	if _, err := s.Listener(ByName("a")); !errors.Is(err, ErrNotInherited) || !strings.Contains(err.Error(), "there is: nothing") {
		t.Error(err)
	}
	if _, err := s.Listeners("a"); !errors.Is(err, ErrNotInherited) {
		t.Error(err)
	}
	if err := s.Close(); err != nil || s.Len() != 0 {
		t.Error(err, s.Len())
	}
}

func TestListenersTakesAllOfAUnitAndLeavesTheRest(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	s := setOf(t, named{"dns", tcpFD(t)}, named{"dns", udpFD(t)}, named{"web", tcpFD(t)}, named{"dns", unixFD(t, "unix", path)})
	lns, err := s.Listeners("dns")
	if err != nil || len(lns) != 2 || lns[0].Addr().Network() != "tcp" || lns[1].Addr().String() != path {
		t.Fatalf("got %v, %v", lns, err)
	}
	for _, ln := range lns {
		ln.Close()
		wantClosed(t, ln.Addr()) // one descriptor has not become two
	}
	var left []string
	for e := range s.All() {
		left = append(left, e.Name+" "+e.Kind.String())
	}
	if got := strings.Join(left, ", "); got != "dns UDP socket, web TCP listener" {
		t.Errorf("left: %s", got)
	}
	if _, err := s.Listeners("dns"); !errors.Is(err, ErrWrongKind) {
		t.Error(err)
	}
}

func TestAListenerThatCannotBeTakenLeavesTheWholeNameInPlace(t *testing.T) {
	t.Parallel()
	bad := named{"web", udpFD(t)}
	s := setOf(t, named{"web", tcpFD(t)}, bad)
	s.slots[1].entry.Kind = KindTCPListener // a lie that net.FileListener finds out
	if _, err := s.Listeners("web"); err == nil {
		t.Fatal("took a UDP socket as a listener")
	}
	if left := s.left(); len(left) != 2 {
		t.Errorf("left: %v", left)
	}
	ln, err := s.Listener(ByName("web"))
	if err != nil {
		t.Fatal(err)
	}
	if ln.Close() != nil {
		t.Error("the first listener was closed")
	}
	if _, err := s.Listener(ByName("web")); err == nil || len(s.left()) != 1 {
		t.Errorf("%v, left %v", err, s.left())
	}
}

func TestATakenUnixListenerLeavesItsPath(t *testing.T) {
	t.Parallel()
	for _, network := range unixNetworks() {
		path := filepath.Join(t.TempDir(), "s")
		s := setOf(t, named{"a", unixFD(t, network, path)})
		ln, err := s.UnixListener(ByName("a"))
		if err != nil {
			t.Fatal(err)
		}
		if got := ln.Addr().Network(); got != network {
			t.Errorf("network %s, want %s", got, network)
		}
		ln.Close()
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
}

func TestCloseClosesOnlyWhatNobodyTook(t *testing.T) {
	t.Parallel()
	s := setOf(t, named{"a", tcpFD(t)}, named{"b", tcpFD(t)})
	var addrs []net.Addr
	for e := range s.All() {
		addrs = append(addrs, e.Addr)
	}
	ln, err := s.Listener(ByName("a"))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	c, err := net.Dial("tcp", addrs[0].String())
	if err != nil {
		t.Fatalf("the taken one: %v", err)
	}
	c.Close()
	wantClosed(t, addrs[1])
	if _, err := s.Listener(ByName("b")); !errors.Is(err, ErrTaken) {
		t.Errorf("after Close: %v", err)
	}
}

func TestOneDescriptorGoesToOneOfManyTakers(t *testing.T) {
	t.Parallel()
	s := setOf(t, named{"a", tcpFD(t)}, named{"a", tcpFD(t)})
	var wg sync.WaitGroup
	taken := make(chan net.Listener, 16)
	for range cap(taken) {
		wg.Go(func() {
			for range s.All() {
				if ln, err := s.Listener(ByName("a")); err == nil {
					taken <- ln
				} else if !errors.Is(err, ErrTaken) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	close(taken)
	n := 0
	for ln := range taken {
		n++
		if ln.Close() != nil {
			t.Error("closed under the taker")
		}
	}
	if n != 2 {
		t.Errorf("%d takers got one of two", n)
	}
}

func TestTakingWhileIteratingIsFine(t *testing.T) {
	t.Parallel()
	s := setOf(t, named{"a", tcpFD(t)}, named{"b", tcpFD(t)})
	n := 0
	for e := range s.All() {
		f, err := s.File(ByIndex(e.Index))
		if err != nil {
			t.Fatal(err)
		}
		if f.Name() != e.Name {
			t.Errorf("file name %q", f.Name())
		}
		f.Close()
		n++
	}
	if n != 2 || len(s.left()) != 0 {
		t.Errorf("saw %d, left %v", n, s.left())
	}
}

func TestATakenFDCanTryAnotherTypeAfterAnError(t *testing.T) {
	t.Parallel()
	s := setOf(t, named{"a", tcpFD(t)}, named{"u", udpFD(t)})
	in, ok := s.take(func(e Entry) bool { return e.Kind == KindUDP })
	if !ok || len(s.left()) != 1 {
		t.Fatalf("took %v, left %v", in, s.left())
	}
	if ln, err := in.listener(); err == nil {
		t.Fatalf("got %v of a UDP socket", ln)
	}
	c, err := in.packetConn()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if c.LocalAddr().String() != in.Addr.String() {
		t.Errorf("got %v of %v", c.LocalAddr(), in)
	}
	if _, ok := s.take(func(e Entry) bool { return e.Kind == KindUDP }); ok {
		t.Error("took it twice")
	}
}

func TestATakenConnectionIsOneDescriptor(t *testing.T) {
	t.Parallel()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range pair {
		unix.CloseOnExec(fd)
	}
	s := setOf(t, named{"a", pair[0]}, named{"b", pair[1]})
	any := func(Entry) bool { return true }
	a, _ := s.take(any)
	b, _ := s.take(any)
	c, err := a.conn()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := b.close(); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Read(make([]byte, 1)); err != io.EOF { // were b open twice, this would wait
		t.Errorf("read %d, %v", n, err)
	}
}

func TestAnEntryNamesItselfForALogLine(t *testing.T) {
	t.Parallel()
	addr := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8080}
	for want, e := range map[string]Entry{
		`fd 3 "http": TCP listener on 127.0.0.1:8080`: {FD: 3, Name: "http", Kind: KindTCPListener, Addr: addr},
		`fd 4 "a\nb": FIFO`:                           {FD: 4, Name: "a\nb", Kind: KindFIFO},
		`fd 5 "": connected TCP socket on 127.0.0.1:8080 with peer 127.0.0.1:8080`: {FD: 5, Kind: KindTCPConn, Addr: addr, RemoteAddr: addr},
		`fd 6 "v": vsock stream listener`:                                          {FD: 6, Name: "v", Kind: KindSocket, text: "vsock stream listener"},
		`fd 7 "u": connected unix stream socket on /run/a`:                         {FD: 7, Name: "u", Kind: KindUnixConn, Addr: &net.UnixAddr{Name: "/run/a"}, RemoteAddr: &net.UnixAddr{}},
		`fd 8 "k": Kind(99)`:                                                       {FD: 8, Name: "k", Kind: 99},
	} {
		if got := e.String(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
