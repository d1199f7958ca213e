//go:build unix

package link

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const wait = 10 * time.Second

// pair returns both ends of a link.
func pair(t testing.TB) (a, b *Conn) {
	t.Helper()
	a, file, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if b, err = OpenFile(file); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	b.SetReadDeadline(time.Now().Add(wait))
	return a, b
}

// rawPair returns an end of a link, and a socket whose other end it is.
func rawPair(t testing.TB) (*net.UnixConn, *Conn) {
	a, b := pair(t)
	return a.conn, b
}

func pipe(t testing.TB) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}

func receive(t *testing.T, c *Conn) Message {
	t.Helper()
	m, err := c.Receive()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// someOrigins are of various kinds.
func someOrigins(n int) []Origin {
	origins := make([]Origin, n)
	for i := range origins {
		origins[i] = Origin{Ours: i%2 == 0, Network: "unix", Address: "./run/app.sock", Path: fmt.Sprintf("/srv/app/run/app-%d.sock", i), Device: 42, Inode: 1 << 60}
	}
	return origins
}

func TestAMessageArrivesWithItsFiles(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	r, w := pipe(t)
	want := Elder{PID: 7, Generation: 3}
	if err := errors.Join(a.Send(wait, KindElder, want, w, r), a.Send(wait, KindCommit, struct{}{})); err != nil {
		t.Fatal(err)
	}
	w.Close()
	m := receive(t, b)
	var got Elder
	if err := m.Decode(&got); err != nil || !reflect.DeepEqual(got, want) || m.Kind != KindElder || len(m.Files) != 2 {
		t.Fatalf("got %+v, kind %d, %d files, %v", got, m.Kind, len(m.Files), err)
	}
	for _, f := range m.Files {
		if flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("a received file is not close-on-exec: %v", err)
		}
	}
	io.WriteString(m.Files[0], "x")
	m.Close() // the last writing end
	if text, err := io.ReadAll(r); string(text) != "x" || err != nil {
		t.Errorf("through the files came %q, %v", text, err)
	}
	if m := receive(t, b); m.Kind != KindCommit || len(m.Files) != 0 {
		t.Errorf("the second message is of kind %d with %d files", m.Kind, len(m.Files))
	}
}

func TestAHelloOfAThousandSocketsGoesThroughASlowReader(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	if err := a.conn.SetWriteBuffer(1); err != nil { // the kernel's least
		t.Fatal(err)
	}
	want := Hello{Version: Version, PID: 1, Generation: 2, Manager: "/run/systemd/notify", Files: someOrigins(1000)}
	sent := make(chan error, 1)
	go func() { sent <- a.Send(wait, KindHello, want) }()
	select {
	case err := <-sent:
		t.Fatalf("it was sent with nobody reading: %v", err) // then this test proves nothing
	case <-time.After(10 * time.Millisecond):
	}
	var got Hello
	if err := receive(t, b).Decode(&got); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("it arrived changed: %v", err)
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

func TestAReceiverThatDoesNotReadHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	a.conn.SetWriteBuffer(1)
	big := Hello{Files: someOrigins(1000)}
	hello := make(chan error, 1)
	go func() { hello <- a.Send(500*time.Millisecond, KindHello, big) }()
	for len(a.sending) == 0 {
		time.Sleep(time.Millisecond)
	}
	began := time.Now()
	if err := a.Send(10*time.Millisecond, KindCommit, struct{}{}); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a message behind another: %v, want a timeout", err)
	}
	if took := time.Since(began); took > 300*time.Millisecond {
		t.Errorf("it took %v", took)
	}
	if err := <-hello; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the message that was not read: %v, want a timeout", err)
	}
	// What comes after half a message would be taken for its other half.
	if err := a.Send(wait, KindCommit, struct{}{}); err == nil {
		t.Error("a message was sent after half of another")
	}
	a.Close()
	if _, err := b.Receive(); !errors.Is(err, ErrProtocol) {
		t.Errorf("half a message is received as %v, want %v", err, ErrProtocol)
	}
}

func TestTheOtherSidesDeathIsEOF(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	if err := a.Send(wait, KindCommit, struct{}{}); err != nil {
		t.Fatal(err)
	}
	a.Close()
	receive(t, b)
	if _, err := b.Receive(); err != io.EOF {
		t.Errorf("got %v, want %v", err, io.EOF)
	}
	if err := b.Send(wait, KindHurry, struct{}{}); !errors.Is(err, unix.EPIPE) {
		t.Errorf("sending to nobody: %v, want %v", err, unix.EPIPE)
	}
}

func TestADeadlineOfReceiveIsTold(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	b.SetReadDeadline(time.Now().Add(-time.Second))
	if _, err := b.Receive(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v, want a timeout", err)
	}
	b.SetReadDeadline(time.Time{})
	if err := a.Send(wait, KindCommit, struct{}{}); err != nil {
		t.Fatal(err)
	}
	receive(t, b)
}

// packet is a message as it goes over the socket.
func packet(kind Kind, body string) []byte {
	p := binary.BigEndian.AppendUint16(nil, uint16(kind))
	p = append(p, 0, 0)
	p = binary.BigEndian.AppendUint32(p, uint32(len(body)))
	return append(p, body...)
}

func TestBytesThatAreNoMessageAreAnError(t *testing.T) {
	t.Parallel()
	oversized := packet(KindHello, "")
	binary.BigEndian.PutUint32(oversized[4:], maxBody+1)
	reserved := packet(KindHello, "{}")
	reserved[3] = 1
	for name, bytes := range map[string][]byte{
		"half a header":           packet(KindHello, "{}")[:5],
		"half a body":             packet(KindHello, "{}")[:9],
		"too long":                oversized,
		"a reserved byte in use":  reserved,
		"the answer of a web app": []byte("HTTP/1.1 400 Bad Request\r\n\r\n"),
	} {
		raw, c := rawPair(t)
		if _, err := raw.Write(bytes); err != nil {
			t.Fatal(err)
		}
		raw.Close()
		if m, err := c.Receive(); !errors.Is(err, ErrProtocol) {
			t.Errorf("%s: got %+v, %v", name, m, err)
		}
	}
}

func TestWhatIsTooMuchIsNotSent(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	if err := a.Send(wait, KindHello, strings.Repeat("x", maxBody)); err == nil {
		t.Error("a body over the limit was sent")
	}
	r, _ := pipe(t)
	files := make([]syscall.Conn, maxFiles+1)
	for i := range files {
		files[i] = r
	}
	if err := a.Send(wait, KindHello, "", files...); err == nil {
		t.Error("files over the limit were sent")
	}
	if err := a.Send(wait, KindHello, "", files[1:]...); err != nil {
		t.Fatal(err)
	}
	m := receive(t, b)
	defer m.Close()
	if len(m.Files) != maxFiles {
		t.Errorf("%d files came, want %d", len(m.Files), maxFiles)
	}
}

func TestConnectionsComeAsDescriptors(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	r, w := pipe(t)
	want := Connections{First: 1 << 60, Name: "http", Address: "127.0.0.1:80", Ages: []Age{{New: true, Elapsed: time.Second}, {}}}
	if err := a.Send(wait, KindConnections, want, slices.Repeat([]syscall.Conn{w}, maxFiles)...); err != nil {
		t.Fatal(err)
	}
	w.Close()
	m := receive(t, b)
	var got Connections
	if err := m.Decode(&got); err != nil || !reflect.DeepEqual(got, want) || len(m.Sockets) != maxFiles || len(m.Files) > 0 {
		t.Fatalf("got %+v with %d sockets and %d files, %v", got, len(m.Sockets), len(m.Files), err)
	}
	for _, fd := range m.Sockets {
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Fatalf("descriptor %d is not close-on-exec: %v", fd, err)
		}
	}
	m.Close()
	r.SetReadDeadline(time.Now().Add(wait))
	if _, err := r.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("they are open after Close: %v", err)
	}
}

func TestAMessageOfANewerReleaseIsReceivedWhole(t *testing.T) {
	t.Parallel()
	raw, c := rawPair(t)
	raw.Write(packet(999, "not even JSON"))
	raw.Write(packet(KindHello, `{"version":2,"pid":5,"color":"red"}`))
	if m := receive(t, c); m.Kind != 999 || string(m.Body) != "not even JSON" {
		t.Errorf("got %+v", m)
	}
	var hello Hello
	if err := receive(t, c).Decode(&hello); err != nil || hello.Version != 2 || hello.PID != 5 {
		t.Errorf("got %+v, %v", hello, err)
	}
}

func TestFilesWhereNoneBelongAreClosed(t *testing.T) {
	t.Parallel()
	for name, send := range map[string]func(*net.UnixConn, []byte){
		"with a body": func(c *net.UnixConn, rights []byte) {
			p := packet(KindCommit, "{}")
			c.Write(p[:headerSize])
			c.WriteMsgUnix(p[headerSize:], rights, nil)
		},
		"with no message": func(c *net.UnixConn, rights []byte) {
			c.WriteMsgUnix([]byte("HTTP/1.1 400"), rights, nil)
		},
	} {
		raw, c := rawPair(t)
		r, w := pipe(t)
		send(raw, unix.UnixRights(int(w.Fd())))
		w.Close()
		m, err := c.Receive()
		if err == nil && len(m.Files) != 0 {
			t.Errorf("%s: %d files were received", name, len(m.Files))
		}
		r.SetReadDeadline(time.Now().Add(wait))
		if _, err := r.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("%s: the file is open somewhere: %v", name, err)
		}
	}
}

func TestOnlyAStreamSocketIsALink(t *testing.T) {
	t.Parallel()
	r, _ := pipe(t)
	if _, err := OpenFile(r); err == nil {
		t.Error("a pipe is no link")
	}
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[1])
	if _, err := Open(fds[0]); err == nil {
		t.Error("a datagram socket is no link")
	}
	if _, err := Open(-1); err == nil {
		t.Error("-1 is no link")
	}
}

// TestDetachLosesNothing moves the receiving from holder to holder while messages
// come, slowly and in pieces.
func TestDetachLosesNothing(t *testing.T) {
	t.Parallel()
	raw, c := rawPair(t)
	c.SetReadDeadline(time.Time{})
	const messages = 300
	go func() {
		var all []byte
		for i := range messages {
			all = append(all, packet(KindElder, fmt.Sprintf(`{"pid":%d}`, i))...)
		}
		for len(all) > 0 {
			n := min(len(all), 7)
			raw.Write(all[:n])
			all = all[n:]
			if len(all)%5 == 0 {
				time.Sleep(50 * time.Microsecond)
			}
		}
	}()
	got := make(chan int, messages)
	for next := 0; next < messages; {
		stopped := make(chan error, 1)
		go func() {
			for {
				m, err := c.Receive()
				if err != nil {
					stopped <- err
					return
				}
				var e Elder
				if err := m.Decode(&e); err != nil {
					t.Error(err)
				}
				got <- e.PID
			}
		}()
		for range 5 {
			select {
			case pid := <-got:
				if pid != next {
					t.Fatalf("message %d came, want %d", pid, next)
				}
				next++
			case err := <-stopped:
				t.Fatal(err)
			case <-time.After(wait):
				t.Fatalf("message %d did not come", next)
			}
			if next == messages {
				return
			}
		}
		file, err := c.Detach()
		if err != nil {
			t.Fatal(err)
		}
		if err := <-stopped; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("Detach ended Receive by %v", err)
		}
		for len(got) > 0 {
			if pid := <-got; pid != next {
				t.Fatalf("message %d came, want %d", pid, next)
			}
			next++
		}
		c.Close()
		c, err = OpenFile(file)
		file.Close()
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestDetachInAMessageLetsItEndAndTakesNoOther(t *testing.T) {
	t.Parallel()
	raw, c := rawPair(t)
	first, second := packet(KindHurry, "{}"), packet(KindCommit, "{}")
	raw.Write(first[:9])
	got := make(chan error, 2)
	go func() {
		for range 2 {
			m, err := c.Receive()
			if err == nil && m.Kind != KindHurry {
				err = fmt.Errorf("a message of kind %d was taken", m.Kind)
			}
			got <- err
		}
	}()
	for !drained(t, c) {
		time.Sleep(time.Millisecond)
	}
	detached := make(chan error, 1)
	go func() {
		file, err := c.Detach()
		if err == nil {
			err = file.Close()
		}
		detached <- err
	}()
	for !c.detached.Load() {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(10 * time.Millisecond) // Receive may well wait again by now
	raw.Write(append(first[9:], second...))
	if err := <-got; err != nil {
		t.Errorf("the message that had begun: %v", err)
	}
	if err := <-got; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("after Detach: %v, want a timeout", err)
	}
	if err := <-detached; err != nil {
		t.Error(err)
	}
}

// drained tells whether all that was sent to c has been read.
func drained(t *testing.T, c *Conn) bool {
	t.Helper()
	raw, err := c.conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if cerr := raw.Control(func(fd uintptr) {
		_, _, err = unix.Recvfrom(int(fd), make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
	}); cerr != nil {
		t.Fatal(cerr)
	}
	return err == unix.EAGAIN
}

func TestADetachedLinkGoesOnToSend(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	file, err := a.Detach()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := a.Send(wait, KindElder, Elder{}, file); err != nil {
		t.Fatal(err)
	}
	m := receive(t, b)
	m.Close()
	// As long as the duplicate is open, its end lives.
	a.Close()
	b.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	if _, err := b.Receive(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v, want a timeout", err)
	}
	file.Close()
	b.SetReadDeadline(time.Now().Add(wait))
	if _, err := b.Receive(); err != io.EOF {
		t.Errorf("got %v, want %v", err, io.EOF)
	}
}

var update = flag.Bool("update", false, "write testdata")

// helloV1 is what testdata/hello-v1 says.
var helloV1 = Hello{Version: 1, PID: 4711, Generation: 3, Manager: "@notify", Files: []Origin{
	{Ours: true, Network: "tcp", Address: ":8080"},
	{Network: "unix", Address: "/run/app.sock"},
	{Ours: true, Network: "unix", Address: "./app.sock", Path: "/srv/app/app.sock", Device: 1<<64 - 1, Inode: 9007199254740993},
}}

// TestAHelloOfVersion1StaysReadable: releases of this package meet in an upgrade.
func TestAHelloOfVersion1StaysReadable(t *testing.T) {
	const path = "testdata/hello-v1"
	if *update {
		text, err := json.Marshal(helloV1)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, packet(KindHello, string(text)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	transcript, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	raw, c := rawPair(t)
	raw.Write(transcript)
	m := receive(t, c)
	var got Hello
	if err := m.Decode(&got); err != nil || m.Kind != KindHello || !reflect.DeepEqual(got, helloV1) {
		t.Errorf("got %+v, %v", got, err)
	}
	// And it is what we send, or an old generation could not read us.
	a, b := pair(t)
	if err := a.Send(wait, KindHello, helloV1); err != nil {
		t.Fatal(err)
	}
	sent := make([]byte, len(transcript))
	if _, err := io.ReadFull(b.conn, sent); err != nil || !bytes.Equal(sent, transcript) {
		t.Errorf("sent %q, %v; if new fields are the reason, compare without them", sent, err)
	}
}

func FuzzReceive(f *testing.F) {
	f.Add(packet(KindHello, `{"version":1}`))
	f.Add(packet(KindCommit, "{}")[:7])
	f.Add(bytes.Repeat([]byte{0}, 20))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<14 {
			return
		}
		raw, c := rawPair(t)
		go func() {
			raw.Write(data)
			raw.Close()
		}()
		for left := data; ; {
			m, err := c.Receive()
			if err == nil {
				if !bytes.HasPrefix(left, packet(m.Kind, string(m.Body))) {
					t.Fatalf("%+v is not in %q", m, left)
				}
				left = left[headerSize+len(m.Body):]
				continue
			}
			if err == io.EOF && len(left) != 0 || err != io.EOF && !errors.Is(err, ErrProtocol) {
				t.Fatalf("%v with %q left", err, left)
			}
			return
		}
	})
}
