//go:build unix

package notify_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/handoff-dev/handoff/handoff"
	"github.com/handoff-dev/handoff/internal/notify"
)

func dial(t *testing.T, r *notify.Receiver) *handoff.Notifier {
	t.Helper()
	n, err := handoff.DialNotifier(r.Address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

// dialRaw returns a socket for datagrams that no Notifier would send.
func dialRaw(t *testing.T, r *notify.Receiver) *net.UnixConn {
	t.Helper()
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: r.Address(), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// sendRaw sends a datagram with descriptors.
func sendRaw(t *testing.T, conn *net.UnixConn, datagram string, fds ...int) {
	t.Helper()
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var failed error
	err = raw.Write(func(fd uintptr) bool {
		failed = unix.Sendmsg(int(fd), []byte(datagram), unix.UnixRights(fds...), nil, 0)
		return failed != unix.EAGAIN
	})
	if err := errors.Join(err, failed); err != nil {
		t.Fatal(err)
	}
}

func devNull(t *testing.T) int {
	t.Helper()
	fd, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// Sequential, since it counts the descriptors of the whole process.
func TestDescriptorsWithAMessageAreClosedAtOnce(t *testing.T) {
	for _, keep := range []bool{false, true} {
		r := listen(t)
		r.KeepStored = keep
		conn := dialRaw(t, r)
		many := slices.Repeat([]int{devNull(t)}, 250)
		few := many[:2]
		before := countFDs()
		for range 500 {
			sendRaw(t, conn, "READY=1", few...)
			if m := receive(t, r); !m.Ready() || m.Files != nil {
				t.Fatalf("got %+v", m)
			}
		}
		for _, datagram := range []string{
			"READY=1", "junk", "FDNAME=x", "BARRIER=1\nREADY=1", "FDSTORE=1\nREADY=1\x00x",
			"FDSTORE=1\n" + strings.Repeat("x", notify.MaxSize), strings.Repeat("x", 3*notify.MaxSize),
		} {
			sendRaw(t, conn, datagram, many...)
			if m := receive(t, r); m.Files != nil || (m.Fault != nil) != (len(datagram) > 10) {
				t.Errorf("%.20q: %d files, fault %v", datagram, len(m.Files), m.Fault)
			}
		}
		sendRaw(t, conn, "BARRIER=1", many...) // a breach of the protocol, and no message
		sendRaw(t, conn, "FDSTORE=1", many...)
		m := receive(t, r)
		if after := countFDs(); keep && (len(m.Files) != len(many) || after != before+len(many)) || !keep && m.Files != nil {
			t.Errorf("keep %v: %d files, %d new descriptors", keep, len(m.Files), after-before)
		}
		for _, file := range m.Files {
			raw, _ := file.SyscallConn()
			raw.Control(func(fd uintptr) {
				if flags, err := unix.FcntlInt(fd, unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
					t.Errorf("descriptor %d would be inherited (%v)", fd, err)
				}
			})
		}
		m.Close()
		if after := countFDs(); after != before {
			t.Errorf("keep %v: %d descriptors before, %d after", keep, before, after)
		}
	}
}

func TestAReceiverWithoutDescriptorsToSpareLeaksNoneAndGoesOn(t *testing.T) {
	t.Parallel()
	p := child(t, "crowded", nil)
	line := func() string {
		text, err := p.stdout.ReadString('\n')
		if err != nil {
			t.Fatalf("%v: %s", err, p.stderr)
		}
		return strings.TrimSpace(text)
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: line(), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	sendRaw(t, conn, "FDSTORE=1\nREADY=1", slices.Repeat([]int{devNull(t)}, 250)...)
	if got := line(); got != "fault true, ready false, files 0, leaked 0" {
		t.Errorf("250 descriptors: %s", got)
	}
	sendRaw(t, conn, "READY=1")
	if got := line(); got != "fault false, ready true, files 0, leaked 0" {
		t.Errorf("the message after: %s", got)
	}
	p.finish(t)
}

func TestAVoidDatagramIsToldWithItsReasonAndTheNextOneCounts(t *testing.T) {
	t.Parallel()
	r := listen(t)
	conn := dialRaw(t, r)
	for _, datagram := range []string{
		"", "READY=1\n" + strings.Repeat("x", notify.MaxSize), strings.Repeat("READY=1\n", 2*notify.MaxSize), "READY=1\n\x00\n", "READY=1\nBARRIER=1",
	} {
		if _, err := conn.Write([]byte(datagram)); err != nil {
			t.Fatal(err)
		}
		if m := receive(t, r); m.Fault == nil || m.Ready() || m.Lines != nil {
			t.Errorf("%.20q: %+v", datagram, m)
		}
	}
	if err := dial(t, r).Notify(handoff.Ready); err != nil {
		t.Fatal(err)
	}
	if m := receive(t, r); m.Fault != nil || !m.Ready() {
		t.Fatalf("got %+v", m)
	}
}

func TestABarrierEndsAfterEachMessageBeforeItWasDealtWith(t *testing.T) {
	t.Parallel()
	r := listen(t)
	n := dial(t, r)
	const messages = 5
	for i := range messages {
		if err := n.Notify(handoff.Errno(syscall.Errno(i + 1))); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan error, 1)
	go func() { done <- n.Barrier(context.Background()) }()
	for i := range messages {
		if m := receive(t, r); int(m.Errno()) != i+1 {
			t.Fatalf("message %d: %q", i+1, m.Lines)
		}
		select {
		case err := <-done:
			t.Fatalf("ended with message %d in the works: %v", i+1, err)
		case <-time.After(5 * time.Millisecond):
		}
	}
	all := receiveAll(r)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	r.Close()
	if rest := <-all; rest != nil {
		t.Fatalf("the barrier came as a message: %+v", rest)
	}
}

func TestAFloodLosesNothingAndKeepsEachSendersOrder(t *testing.T) {
	t.Parallel()
	r := listen(t)
	const senders, each = 4, 5000
	var wg sync.WaitGroup
	for i := range senders {
		n := dial(t, r)
		wg.Add(1)
		go func() {
			defer wg.Done()
			for j := range each {
				if err := n.Notify(handoff.State(fmt.Sprintf("X_%d=%d", i, j))); err != nil {
					t.Error(err)
					return
				}
			}
		}()
	}
	next := [senders]int{}
	for range senders * each {
		m := receive(t, r)
		var i, j int
		if _, err := fmt.Sscanf(m.Lines[0], "X_%d=%d", &i, &j); err != nil || next[i] != j {
			t.Fatalf("got %q, want number %d (%v)", m.Lines, next[i], err)
		}
		next[i]++
	}
	wg.Wait()
}

func TestCloseAndTheDeadlineEndAReceiveThatWaits(t *testing.T) {
	t.Parallel()
	r := listen(t)
	r.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	if _, err := r.Receive(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("deadline: %v", err)
	}
	r.SetReadDeadline(time.Time{})
	ended := make(chan error, 1)
	go func() {
		_, err := r.Receive()
		ended <- err
	}()
	r.Close()
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Fatalf("close: %v", err)
	}
}

func TestWhatIsForwardableANotifierAccepts(t *testing.T) {
	t.Parallel()
	r := listen(t)
	conn := dialRaw(t, r)
	n := dial(t, r)
	odd := "junk\r\n=\nREADY=1\nSTATUS=a\xffb\nX_A=\n\tX=1\nFDNAME=a:b\nFDNAME=\x80\nEXTEND_TIMEOUT_USEC=soon\nFDSTORE=1"
	full := "X=" + strings.Repeat("x", notify.MaxSize-2)
	for datagram, lines := range map[string]int{odd: 3, full: 1} {
		if _, err := conn.Write([]byte(datagram)); err != nil {
			t.Fatal(err)
		}
		var states []handoff.State
		for _, line := range receive(t, r).Forwardable() {
			states = append(states, handoff.State(line))
		}
		if err := n.Notify(states...); err != nil {
			t.Fatal(err)
		}
		if got := receive(t, r).Lines; len(got) != lines {
			t.Errorf("passed on %q", got)
		}
	}
}
