//go:build unix

package handoff

import (
	"bufio"
	"errors"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// The system's table of open files can't be filled for a test without harm to all
// others (proc_sys_fs(5), file-max). So here ENFILE is put where the system would
// return it.

// fullListener has no room for the first connections.
type fullListener struct {
	socketListener
	refusals atomic.Int32
}

func (l *fullListener) Accept() (net.Conn, error) {
	if l.refusals.Add(-1) >= 0 {
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", syscall.ENFILE)}
	}
	return l.socketListener.Accept()
}

func TestAServerLivesThroughAFullTableOfOpenFiles(t *testing.T) {
	t.Parallel()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	full := &fullListener{socketListener: inner.(socketListener)}
	full.refusals.Store(3)
	u := newUpgrader(t, Options{})
	l := newListener(full, gatePaused)
	l.name, l.up = "http", u
	if err := u.register(&shared{File: File{Name: "http", Conn: full}, gate: l.gate, end: l.end}); err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}
	end := running(u, t.Context(), Serve(srv, l))
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get("http://" + l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if full.refusals.Load() >= 0 {
		t.Error("accept has not failed")
	}
	u.Stop()
	if err := until(t, end, "the end"); err != nil {
		t.Error(err)
	}
}

// noRoom is a descriptor that can't be duplicated.
type noRoom struct{}

func (noRoom) SyscallConn() (syscall.RawConn, error) {
	return nil, os.NewSyscallError("fcntl", syscall.ENFILE)
}

func TestAnUpgradeThatFindsTheTableOfOpenFilesFullFailsAndChangesNothing(t *testing.T) {
	t.Parallel()
	u := newUpgrader(t, Options{Command: os.Args[0], Args: []string{os.Args[0], "-test.list=^$"}})
	ln := listenLocal(t, u)
	conns, _ := accepting(ln)
	if err := u.Ready(); err != nil {
		t.Fatal(err)
	}
	if err := u.Keep(File{Name: "kept", Conn: noRoom{}}); err != nil {
		t.Fatal(err)
	}
	err := u.Upgrade(t.Context())
	if failed := (*UpgradeError)(nil); !errors.As(err, &failed) || !errors.Is(err, syscall.ENFILE) || failed.Phase != "start" {
		t.Errorf("the upgrade says %v", err)
	}
	dialTo(t, ln)
	until(t, conns, "a connection").Close()
	u.Forget(noRoom{})
	if err := u.Upgrade(t.Context()); !errors.Is(err, ErrExited) && !errors.Is(err, ErrUnsupported) {
		t.Errorf("the next upgrade doesn't come as far as its successor: %v", err)
	}
}

func TestConnectionsOfOnesOwnLiveThroughAFullTableOfOpenFiles(t *testing.T) {
	t.Parallel()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	full := &fullListener{socketListener: inner.(socketListener)}
	full.refusals.Store(3)
	u := newUpgrader(t, Options{})
	l := newListener(full, gatePaused)
	l.name, l.up = "chat", u
	if err := u.register(&shared{File: File{Name: "chat", Conn: full}, gate: l.gate, end: l.end}); err != nil {
		t.Fatal(err)
	}
	end := running(u, t.Context(), u.ServeConns(l, countLines))
	client := dialTo(t, l)
	mustCount(t, client, bufio.NewReader(client), "a\n", "1 a\n")
	if full.refusals.Load() >= 0 {
		t.Error("accept has not failed")
	}
	client.Close()
	u.Stop()
	if err := until(t, end, "the end"); err != nil {
		t.Error(err)
	}
}

// A loop that waits for a descriptor is no reason to drain later.
func TestTheDrainDoesNotWaitForALoopThatWaitsForADescriptor(t *testing.T) {
	t.Parallel()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	full := &fullListener{socketListener: inner.(socketListener)}
	full.refusals.Store(1 << 30)
	u := newUpgrader(t, Options{DrainTimeout: time.Hour})
	l := newListener(full, gatePaused)
	l.name, l.up = "chat", u
	if err := u.register(&shared{File: File{Name: "chat", Conn: full}, gate: l.gate, end: l.end}); err != nil {
		t.Fatal(err)
	}
	end := running(u, t.Context(), u.ServeConns(l, countLines))
	for full.refusals.Load() > 1<<30-3 {
		time.Sleep(time.Millisecond)
	}
	u.Stop()
	if err := until(t, end, "the end"); err != nil {
		t.Error(err)
	}
}
