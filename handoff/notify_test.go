//go:build unix

package handoff_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
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

// newManager returns a receiving end that stands for the service manager.
func newManager(t *testing.T) *notify.Receiver {
	t.Helper()
	r, err := notify.Listen()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	r.SetReadDeadline(time.Now().Add(30 * time.Second))
	return r
}

func dial(t *testing.T, address string) *handoff.Notifier {
	t.Helper()
	n, err := handoff.DialNotifier(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

func receive(t *testing.T, r *notify.Receiver) notify.Message {
	t.Helper()
	m, err := r.Receive()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func equal(t *testing.T, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("got %q, want %q", got, want)
	}
}

func TestNotSupervisedIsNoErrorAndEveryMethodOfNilDoesNothing(t *testing.T) {
	for _, value := range []string{"", "unset"} {
		t.Setenv("NOTIFY_SOCKET", value)
		if value == "unset" {
			os.Unsetenv("NOTIFY_SOCKET")
		}
		n, err := handoff.OpenNotifier()
		if n != nil || err != nil {
			t.Fatalf("NOTIFY_SOCKET %s: %v, %v", value, n, err)
		}
		ctx := context.Background()
		always := func(context.Context) error { return nil }
		if err := errors.Join(n.Notify(handoff.Ready), n.NotifyFiles(nil, handoff.FDStore), n.Barrier(ctx),
			n.Watchdog(ctx, time.Second, always), n.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestMalformedNotifySocketIsAnErrorThatNamesVariableAndValue(t *testing.T) {
	for _, value := range []string{
		"relative/path", "@", "/nowhere/handoff/notify", "/" + strings.Repeat("x", 200),
		"vsock", "vsock:", "vsock:2", "vsock:2:", "vsock::1", "vsock:2:x", "vsock:0x2:1", "vsock:-1:1", "vsock:2:1:3",
		"vsock:4294967295:1", "vsock:4294967296:1", "vsock-raw:2:1", "vsockx:2:1", "unix:/x",
	} {
		t.Setenv("NOTIFY_SOCKET", value)
		n, err := handoff.OpenNotifier()
		if n != nil || err == nil || !strings.Contains(err.Error(), "NOTIFY_SOCKET") || !strings.Contains(err.Error(), fmt.Sprintf("%q", value)) {
			t.Errorf("%q: %v, %v", value, n, err)
		}
	}
}

func TestOpenNotifierLeavesTheEnvironmentAsItIs(t *testing.T) {
	manager := newManager(t)
	t.Setenv("NOTIFY_SOCKET", manager.Address())
	n, err := handoff.OpenNotifier()
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if err := n.Notify(handoff.Ready); err != nil {
		t.Fatal(err)
	}
	if !receive(t, manager).Ready() || os.Getenv("NOTIFY_SOCKET") != manager.Address() {
		t.Fatal("not ready, or the variable is gone")
	}
}

func TestSeveralStatesAreOneMessageInTheirOrder(t *testing.T) {
	t.Parallel()
	manager := newManager(t)
	n := dial(t, manager.Address())
	if err := n.Notify(handoff.MainPID(4711), handoff.MainPIDFDID(99), handoff.Ready, handoff.Status("up\xff, 100 %"),
		handoff.Errno(syscall.ENOENT), handoff.ExtendTimeout(1500*time.Nanosecond), handoff.WatchdogTimeout(2*time.Second),
		handoff.FDStoreRemove, handoff.FDName(""), handoff.NotifyAccess("all"), "X_OWN=a=b"); err != nil {
		t.Fatal(err)
	}
	m := receive(t, manager)
	equal(t, m.Lines, []string{"MAINPID=4711", "MAINPIDFDID=99", "READY=1", "STATUS=up\uFFFD, 100 %", "ERRNO=2",
		"EXTEND_TIMEOUT_USEC=2", "WATCHDOG_USEC=2000000", "FDSTOREREMOVE=1", "FDNAME=", "NOTIFYACCESS=all", "X_OWN=a=b"})
	if !m.Ready() || m.MainPID() != 4711 || m.Errno() != syscall.ENOENT || m.ExtendTimeout() != 2*time.Microsecond {
		t.Fatalf("read back wrongly: %+v", m)
	}
}

func TestAStateThatIsNotOneLineIsRefusedAndNothingIsSent(t *testing.T) {
	t.Parallel()
	manager := newManager(t)
	n := dial(t, manager.Address())
	for _, s := range []handoff.State{
		handoff.Status("fine\nMAINPID=1"), handoff.Status("fine\rMAINPID=1"), handoff.Status("a\x00b"),
		handoff.FDName("a:b"), handoff.FDName("a\tb"), handoff.FDName("ä"), handoff.FDName(strings.Repeat("x", 256)),
		handoff.MainPID(0), handoff.MainPID(-1), handoff.ExtendTimeout(-1), handoff.WatchdogTimeout(0), handoff.WatchdogTimeout(-1),
		handoff.NotifyAccess("all\nREADY=1"), "READY", "=1", "",
	} {
		if err := n.Notify(handoff.Stopping, s); err == nil {
			t.Errorf("%q was sent", s)
		}
	}
	if err := n.Notify(); err == nil {
		t.Error("no state at all was sent")
	}
	if err := n.Notify(handoff.Ready); err != nil {
		t.Fatal(err)
	}
	equal(t, receive(t, manager).Lines, []string{"READY=1"})
}

func TestAMessageOf4096BytesIsSentAndOneMoreIsRefused(t *testing.T) {
	t.Parallel()
	manager := newManager(t)
	n := dial(t, manager.Address())
	text := strings.Repeat("x", handoff.MaxNotifySize-len("STATUS="))
	if err := n.Notify(handoff.Status(text + "x")); !errors.Is(err, handoff.ErrNotifySize) {
		t.Fatalf("4097 bytes: %v", err)
	}
	if err := n.Notify(handoff.Status(text)); err != nil {
		t.Fatal(err)
	}
	if m := receive(t, manager); m.Fault != nil || m.Status() != text {
		t.Fatalf("4096 bytes arrived as %d with fault %v", len(m.Status()), m.Fault)
	}
}

func TestFilesArriveAndTheSendersCopyKeepsItsMode(t *testing.T) {
	t.Parallel()
	manager := newManager(t)
	manager.KeepStored = true
	n := dial(t, manager.Address())
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	tcp := ln.(*net.TCPListener)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := n.NotifyFiles([]syscall.Conn{tcp, w}, handoff.FDStore, handoff.FDName("both")); err != nil {
		t.Fatal(err)
	}
	w.Close()
	m := receive(t, manager)
	equal(t, m.Lines, []string{"FDSTORE=1", "FDNAME=both"})
	if len(m.Files) != 2 {
		t.Fatalf("%d files arrived", len(m.Files))
	}
	if _, err := m.Files[1].WriteString("hello"); err != nil {
		t.Fatal(err)
	}
	m.Close()
	buf := make([]byte, 10)
	if got, err := r.Read(buf); err != nil || string(buf[:got]) != "hello" {
		t.Fatalf("read %q, %v", buf[:got], err)
	}
	// A blocking listener could not be woken by its deadline.
	tcp.SetDeadline(time.Now().Add(10 * time.Millisecond))
	if _, err := tcp.Accept(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("the listener's Accept ended with %v", err)
	}

	if err := n.NotifyFiles(slices.Repeat([]syscall.Conn{tcp}, handoff.MaxNotifyFiles+1), handoff.FDStore); err == nil {
		t.Fatal("254 files were sent")
	}
	if err := n.NotifyFiles([]syscall.Conn{tcp, w}, handoff.FDStore); err == nil {
		t.Fatal("a closed file was sent")
	}
}

func TestAPathIsAnAddressAndAManagerThatCameBackIsFoundAgain(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "notify") // t.TempDir is too long a path for Darwin
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "s")
	listen := func() *net.UnixConn {
		conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		return conn
	}
	expect := func(conn *net.UnixConn, want string) {
		t.Helper()
		buf := make([]byte, 100)
		conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		if n, err := conn.Read(buf); err != nil || string(buf[:n]) != want {
			t.Fatalf("got %q, %v; want %q", buf[:n], err, want)
		}
	}

	first := listen()
	n := dial(t, path)
	if err := n.Notify(handoff.Ready); err != nil {
		t.Fatal(err)
	}
	expect(first, "READY=1")
	first.Close()
	os.Remove(path)
	for range 2 {
		if err := n.Notify(handoff.Stopping); err == nil {
			t.Fatal("sent to nobody")
		}
	}
	second := listen()
	defer second.Close()
	if err := n.Notify(handoff.Stopping); err != nil {
		t.Fatal(err)
	}
	expect(second, "STOPPING=1")
}

func TestAManagerThatDoesNotReadHoldsASendUpForABoundedTime(t *testing.T) {
	t.Parallel()
	manager := newManager(t)
	n := dial(t, manager.Address())
	n.SetTimeout(50 * time.Millisecond)
	var err error
	sent := 0
	for ; err == nil && sent < 100_000; sent++ {
		err = n.Notify(handoff.Ready)
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("after %d messages: %v", sent, err)
	}
	// Nor do many senders queue up behind each other's timeouts.
	begin := time.Now()
	var wg sync.WaitGroup
	for range 100 {
		wg.Add(1)
		go func() { defer wg.Done(); n.Notify(handoff.Ready) }()
	}
	wg.Wait()
	if took := time.Since(begin); took > 4*time.Second {
		t.Errorf("100 senders took %v", took)
	}
	// A reader that comes back sets a waiting sender free.
	n.SetTimeout(time.Minute)
	done := make(chan error, 1)
	go func() { done <- n.Notify(handoff.Stopping) }()
	for !receive(t, manager).Stopping() {
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestManySendersShareANotifierAndClose(t *testing.T) {
	t.Parallel()
	manager := newManager(t)
	n := dial(t, manager.Address())
	const senders, each = 8, 100
	var wg sync.WaitGroup
	for i := range senders {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for range each {
				if err := n.Notify(handoff.State(fmt.Sprintf("X_%d=1", i))); err != nil {
					t.Error(err)
				}
			}
		}()
	}
	got := map[string]int{}
	for range senders * each {
		got[receive(t, manager).Lines[0]]++
	}
	wg.Wait()
	for line, count := range got {
		if count != each {
			t.Errorf("%s came %d times", line, count)
		}
	}
	if err := errors.Join(n.Close(), n.Close()); err != nil {
		t.Fatal(err)
	}
	if err := n.Notify(handoff.Ready); !errors.Is(err, net.ErrClosed) {
		t.Fatalf("after Close: %v", err)
	}
	if err := n.Barrier(context.Background()); !errors.Is(err, net.ErrClosed) {
		t.Fatalf("after Close: %v", err)
	}
}

func TestBarrierReturnsOnceAllBeforeItIsProcessed(t *testing.T) {
	t.Parallel()
	manager := newManager(t)
	n := dial(t, manager.Address())
	if err := n.Notify(handoff.Ready); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- n.Barrier(context.Background()) }()
	if !receive(t, manager).Ready() {
		t.Fatal("not ready")
	}
	// READY was taken, but nobody has asked for more: it may be in the works.
	select {
	case err := <-done:
		t.Fatalf("the barrier ended early: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	received := make(chan error, 1)
	go func() {
		_, err := manager.Receive()
		received <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	manager.Close()
	if err := <-received; !errors.Is(err, net.ErrClosed) {
		t.Fatalf("Receive returned %v after Close; the barrier is no message", err)
	}
}

func TestBarrierEndsWithItsContext(t *testing.T) {
	t.Parallel()
	manager := newManager(t)
	n := dial(t, manager.Address())
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(context.Background())
	time.AfterFunc(10*time.Millisecond, func() { cancel(cause) })
	if err := n.Barrier(ctx); !errors.Is(err, cause) {
		t.Fatalf("got %v", err)
	}
}

func TestWatchdogIntervalIsForTheProcessItNames(t *testing.T) {
	own := fmt.Sprint(os.Getpid())
	for _, c := range []struct {
		usec, pid string // "-" is unset
		want      time.Duration
		bad       string
	}{
		{"-", "-", 0, ""},
		{"-", "junk", 0, ""},
		{"3000000", "-", 3 * time.Second, ""},
		{"3000000", own, 3 * time.Second, ""},
		{"3000000", "1", 0, ""},
		{"18446744073709551614", own, 1<<63 - 1, ""},
		{"18446744073709551615", own, 0, "WATCHDOG_USEC"},
		{"0", own, 0, "WATCHDOG_USEC"},
		{"", own, 0, "WATCHDOG_USEC"},
		{"3s", own, 0, "WATCHDOG_USEC"},
		{"-3", own, 0, "WATCHDOG_USEC"},
		{"3000000", "", 0, "WATCHDOG_PID"},
		{"3000000", "0", 0, "WATCHDOG_PID"},
		{"3000000", "self", 0, "WATCHDOG_PID"},
	} {
		for key, value := range map[string]string{"WATCHDOG_USEC": c.usec, "WATCHDOG_PID": c.pid} {
			t.Setenv(key, value)
			if value == "-" {
				os.Unsetenv(key)
			}
		}
		got, err := handoff.WatchdogInterval()
		if got != c.want || (err == nil) != (c.bad == "") || err != nil && !strings.Contains(err.Error(), c.bad) {
			t.Errorf("%+v: %v, %v", c, got, err)
		}
	}
}

func TestWatchdogPingsOnlyWhileHealthy(t *testing.T) {
	t.Parallel()
	manager := newManager(t)
	n := dial(t, manager.Address())
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	// Well, well, sick twice, hung once, and then well again: what was asked
	// before each ping tells which answers led to one.
	asked := 0
	healthy := func(ctx context.Context) error {
		asked++
		switch asked {
		case 3, 4:
			return errors.New("sick")
		case 5:
			<-ctx.Done() // ends with the half interval
			return nil
		}
		return n.Notify(handoff.State(fmt.Sprintf("X_ASKED=%d", asked)))
	}
	done := make(chan error, 1)
	// Long enough for a busy machine: who is well too late counts as hung.
	go func() { done <- n.Watchdog(ctx, 500*time.Millisecond, healthy) }()
	for _, ask := range []int{1, 2, 6, 7} {
		equal(t, receive(t, manager).Lines, []string{fmt.Sprintf("X_ASKED=%d", ask)})
		equal(t, receive(t, manager).Lines, []string{"WATCHDOG=1"})
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}

	if err := n.Watchdog(context.Background(), 0, healthy); err != nil {
		t.Fatalf("no interval: %v", err)
	}
	n.Close()
	if err := n.Watchdog(context.Background(), time.Hour, nil); !errors.Is(err, net.ErrClosed) {
		t.Fatalf("after Close: %v", err)
	}
}

func TestDescriptorsOfANotifierAreNotInheritable(t *testing.T) {
	// Sequential: it looks at the descriptors of the whole process.
	open := func() map[int]bool {
		fds := map[int]bool{}
		for fd := range 256 {
			if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
				fds[fd] = true
			}
		}
		return fds
	}
	before := open()
	manager := newManager(t)
	dial(t, manager.Address())
	for fd := range open() {
		flags, _ := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if !before[fd] && flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("descriptor %d would be inherited", fd)
		}
	}
}

// A ping that waits for its turn doesn't come once its context has ended.
func TestNoWatchdogPingFollowsWhatIsSaidAfterItsEnd(t *testing.T) {
	t.Parallel()
	manager := newManager(t)
	for range 200 {
		n := dial(t, manager.Address())
		ctx, cancel := context.WithCancel(t.Context())
		asked, done := make(chan struct{}, 1), make(chan error, 1)
		go func() {
			done <- n.Watchdog(ctx, time.Hour, func(context.Context) error { close(asked); return nil })
		}()
		<-asked // now it sends
		cancel()
		if err := n.Notify("X_LAST=1"); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		m := receive(t, manager)
		if slices.Equal(m.Lines, []string{"WATCHDOG=1"}) {
			m = receive(t, manager)
		}
		equal(t, m.Lines, []string{"X_LAST=1"})
		if err := n.Notify("X_END=1"); err != nil {
			t.Fatal(err)
		}
		equal(t, receive(t, manager).Lines, []string{"X_END=1"})
		n.Close()
	}
}
