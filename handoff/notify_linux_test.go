package handoff_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/handoff-dev/handoff/handoff"
)

func monotonic(t *testing.T) int64 {
	t.Helper()
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		t.Fatal(err)
	}
	return ts.Nano() / 1000
}

func TestReloadingCarriesTheTimeOfItsSending(t *testing.T) {
	t.Parallel()
	manager := newManager(t)
	n := dial(t, manager.Address())
	before := monotonic(t)
	if err := n.Notify(handoff.Reloading, handoff.Status("again")); err != nil {
		t.Fatal(err)
	}
	after := monotonic(t)
	m := receive(t, manager)
	text, _ := m.Get("MONOTONIC_USEC")
	if sent, err := strconv.ParseInt(text, 10, 64); err != nil || sent < before || sent > after || !m.Reloading() {
		t.Fatalf("%q, not between %d and %d", m.Lines, before, after)
	}
	if err := n.Notify(handoff.Reloading, "MONOTONIC_USEC=7"); err != nil {
		t.Fatal(err)
	}
	equal(t, receive(t, manager).Lines, []string{"RELOADING=1", "MONOTONIC_USEC=7"})
}

func TestPIDFDIDIsTheInodeOfAPidfdAndOfNothingElse(t *testing.T) {
	t.Parallel()
	pidfd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		t.Skipf("pidfd_open: %v", err)
	}
	defer unix.Close(pidfd)
	id, err := handoff.PIDFDID(pidfd)
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skipf("this kernel numbers no pidfds: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	again, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(again)
	if id2, err := handoff.PIDFDID(again); err != nil || id2 != id || id == 0 {
		t.Fatalf("%d and then %d, %v", id, id2, err)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if _, err := handoff.PIDFDID(int(null.Fd())); !errors.Is(err, errors.ErrUnsupported) {
		t.Fatalf("/dev/null: %v", err)
	}
}

// listenVsock returns a socket of this machine's vsock loopback.
func listenVsock(t *testing.T, kind int) (fd int, port uint32) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_VSOCK, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Skipf("this machine has no vsock sockets of kind %d: %v", kind, err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrVM{CID: unix.VMADDR_CID_ANY, Port: unix.VMADDR_PORT_ANY}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 10); err != nil {
		t.Fatal(err)
	}
	limit := unix.Timeval{Sec: 10}
	unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit)
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	port = name.(*unix.SockaddrVM).Port
	probe, err := unix.Socket(unix.AF_VSOCK, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(probe)
	if err := unix.Connect(probe, &unix.SockaddrVM{CID: unix.VMADDR_CID_LOCAL, Port: port}); err != nil {
		t.Skipf("this machine has no vsock loopback (module vsock_loopback): %v", err)
	}
	conn, _, err := unix.Accept(fd)
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(conn)
	return fd, port
}

func TestVsockSendsOneMessageAConnection(t *testing.T) {
	t.Parallel()
	for scheme, kind := range map[string]int{"vsock-stream": unix.SOCK_STREAM, "vsock-seqpacket": unix.SOCK_SEQPACKET} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			ln, port := listenVsock(t, kind)
			n := dial(t, fmt.Sprintf("%s:%d:%d", scheme, unix.VMADDR_CID_LOCAL, port))
			for i := range 3 {
				done := make(chan error, 1)
				go func() { done <- n.Notify(handoff.Ready, handoff.Errno(syscall.Errno(i+1))) }()
				conn, peer, err := unix.Accept(ln)
				if err != nil {
					t.Fatal(err)
				}
				var got strings.Builder
				buf := make([]byte, 4096)
				for {
					read, err := unix.Read(conn, buf)
					if err != nil {
						t.Fatal(err)
					}
					if read == 0 {
						break
					}
					got.Write(buf[:read])
				}
				unix.Close(conn)
				if want := fmt.Sprintf("READY=1\nERRNO=%d", i+1); got.String() != want {
					t.Fatalf("got %q, want %q", got.String(), want)
				}
				if port := peer.(*unix.SockaddrVM).Port; os.Geteuid() == 0 && port >= 1024 {
					t.Errorf("root sent from port %d, which anybody may have", port)
				}
				if err := <-done; err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func TestVsockAddressesAreTakenAndFilesRefused(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"vsock:2:1234", "vsock-stream:1:1", "vsock-dgram:3:4294967294", "vsock-seqpacket:4294967294:9"} {
		n := dial(t, address)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := n.Barrier(ctx); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%s: Barrier: %v", address, err)
		}
	}
}
