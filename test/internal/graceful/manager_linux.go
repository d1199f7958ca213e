package graceful

import (
	"net"
	"os"
	"testing"
)

// Manager is a service manager that doesn't mind what it is told. With its address
// in the environment all generations are children of their predecessors' parent.
func Manager(t testing.TB) (address string) {
	t.Helper()
	dir, err := os.MkdirTemp("/var/tmp", "manager-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: dir + "/notify", Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		for buf := make([]byte, 4096); ; {
			if _, err := conn.Read(buf); err != nil {
				return
			}
		}
	}()
	return dir + "/notify"
}
