package lowport

import (
	"errors"
	"net"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestALowPortThatIsRefusedIsExplained(t *testing.T) {
	t.Parallel()
	if firstFree() <= 80 {
		t.Skip("here anybody may bind port 80")
	}
	for _, at := range []struct{ network, address string }{
		{"tcp", "127.0.0.1:80"}, {"tcp4", "127.0.0.1:http"}, {"tcp", ":443"}, {"udp", "127.0.0.1:53"}, {"udp", "[::1]:domain"},
	} {
		err := Explain(refused(t, at.network, at.address), at.network, at.address)
		if err == nil || !errors.Is(err, syscall.EACCES) {
			t.Fatalf("%s %s: %v, want EACCES", at.network, at.address, err)
		}
		for _, want := range []string{"CAP_NET_BIND_SERVICE", "net.ipv4.ip_unprivileged_port_start", "systemd"} {
			if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%v: does not say %s in one line", err, want)
			}
		}
	}
}

// refused binds without the capability, in a thread that ends.
func refused(t *testing.T, network, address string) error {
	t.Helper()
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocks it: what the thread has lost stays lost
		none := [2]unix.CapUserData{}
		if err := unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &none[0]); err != nil {
			result <- err
			return
		}
		var c interface{ Close() error }
		var err error
		if strings.HasPrefix(network, "udp") {
			c, err = net.ListenPacket(network, address)
		} else {
			c, err = net.Listen(network, address)
		}
		if err == nil {
			c.Close()
		}
		result <- err
	}()
	return <-result
}

func TestOtherErrorsAreLeftAlone(t *testing.T) {
	t.Parallel()
	for _, at := range []struct {
		network, address string
		err              error
	}{
		{"tcp", ":80", nil},
		{"tcp", ":80", syscall.EADDRINUSE},
		{"tcp", ":0", syscall.EACCES},
		{"tcp", ":65535", syscall.EACCES},
		{"tcp", ":nonsense", syscall.EACCES},
		{"tcp", "", syscall.EACCES},
		{"unix", "/run/x:80", syscall.EACCES},
	} {
		if got := Explain(at.err, at.network, at.address); got != at.err {
			t.Errorf("%v for %s %s became %v", at.err, at.network, at.address, got)
		}
	}
}
