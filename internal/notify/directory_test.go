//go:build unix

package notify

import (
	"net"
	"os"
	"path/filepath"
	"testing"
)

func TestASocketInADirectoryIsForItsUserOnlyAndGoneAfterClose(t *testing.T) {
	t.Parallel()
	parent, err := os.MkdirTemp("", "notify") // t.TempDir is too long a path for Darwin
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(parent)
	r, err := listenIn(parent)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Dir(r.Address()))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info, err)
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: r.Address(), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("READY=1")); err != nil {
		t.Fatal(err)
	}
	if m, err := r.Receive(); err != nil || !m.Ready() {
		t.Errorf("%+v, %v", m, err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(parent); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if _, err := listenIn(filepath.Join(parent, "missing")); err == nil {
		t.Error("listens in a directory that doesn't exist")
	}
}
