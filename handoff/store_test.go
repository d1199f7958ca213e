//go:build linux

package handoff

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// What is kept by a program that closes it is left out, and the upgrade goes on.
func TestAClosedFileIsNotExported(t *testing.T) {
	t.Parallel()
	u := newUpgrader(t, Options{})
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	conn := listenLocal(t, u)
	for name, c := range map[string]*os.File{"closed": r, "open": w} {
		if err := u.Keep(File{Name: name, Conn: c}); err != nil {
			t.Fatal(err)
		}
	}
	r.Close()
	files, origins, err := u.exports()
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(files)
	var names []string
	for _, o := range origins {
		names = append(names, o.Name)
	}
	if slices.Contains(names, "closed") || !slices.Contains(names, "open") || len(names) != 2 {
		t.Errorf("%q are handed on, want the listener %s and the open file", names, conn.Addr())
	}
}

func TestWhatAProgramClosesIsTakenOutOfTheStoreAndAtItsStopItStays(t *testing.T) {
	inbox, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer inbox.Close()
	t.Setenv("NOTIFY_SOCKET", inbox.LocalAddr().String())
	u := newUpgrader(t, Options{})
	if err := u.Ready(); err != nil {
		t.Fatal(err)
	}
	// await reads until a message has all of the lines, and fails at one that must not come.
	await := func(never string, lines ...string) {
		t.Helper()
		inbox.SetReadDeadline(time.Now().Add(20 * time.Second))
		for {
			b := make([]byte, 4096)
			n, _, err := inbox.ReadFrom(b)
			if err != nil {
				t.Fatalf("waiting for %q: %v", lines, err)
			}
			said := strings.Split(string(b[:n]), "\n")
			if never != "" && slices.Contains(said, never) {
				t.Fatalf("the manager was told %q", said)
			}
			if !slices.ContainsFunc(lines, func(l string) bool { return !slices.Contains(said, l) }) {
				return
			}
		}
	}
	closed, kept := memfd(t), memfd(t)
	for name, f := range map[string]*os.File{"closed": closed, "kept": kept} {
		if err := u.Store(File{Name: name, Conn: f}); err != nil {
			t.Fatal(err)
		}
		await("", "FDSTORE=1", "FDNAME="+name)
	}
	closed.Close()
	await("FDNAME=kept", "FDSTOREREMOVE=1", "FDNAME=closed")
	u.Stop()
	<-u.Draining()
	kept.Close()
	u.dropClosed()
	u.in(func() { u.tellManager("X_END=1") }) // behind what that may have begun
	await("FDNAME=kept", "X_END=1")
}

func memfd(t *testing.T) *os.File {
	t.Helper()
	f, err := newMemfd("test", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}
