//go:build unix

package handoff

import (
	"errors"
	"net"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

func TestAUnixAddressThatIsTooLongIsCalledSo(t *testing.T) {
	const want = "more than a unix socket's may have"
	addresses := []string{"/tmp/" + strings.Repeat("x", 110)}
	if runtime.GOOS == "linux" {
		addresses = append(addresses, "@"+strings.Repeat("x", 110))
	}
	up, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer up.Close()
	for _, address := range addresses {
		for _, network := range []string{"unix", "unixpacket", "unixgram"} {
			if network == "unixgram" {
				_, err = up.ListenPacket("a", network, address)
			} else {
				_, err = up.Listen("a", network, address)
			}
			if !errors.Is(err, syscall.EINVAL) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), address) {
				t.Errorf("%s %s: %v", network, address, err)
			}
		}
	}
}

func TestAControlPathThatIsTooLongIsCalledSo(t *testing.T) {
	up, err := New(Options{Control: "/tmp/" + strings.Repeat("x", 110)})
	if err == nil {
		up.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "Options.Control") || !strings.Contains(err.Error(), "more than a unix socket's may have") {
		t.Errorf("%v", err)
	}
}

func TestALowPortThatIsRefusedHasAHint(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the hint is about Linux")
	}
	refuse := func(string, string, syscall.RawConn) error { return syscall.EACCES }
	up, err := New(Options{ListenConfig: &net.ListenConfig{Control: refuse}})
	if err != nil {
		t.Fatal(err)
	}
	defer up.Close()
	if _, err := up.Listen("http", "tcp", "127.0.0.1:80"); !errors.Is(err, syscall.EACCES) || !strings.Contains(err.Error(), "CAP_NET_BIND_SERVICE") {
		t.Errorf("Listen: %v", err)
	}
	if _, err := up.ListenPacket("dns", "udp", "127.0.0.1:53"); !errors.Is(err, syscall.EACCES) || !strings.Contains(err.Error(), "CAP_NET_BIND_SERVICE") {
		t.Errorf("ListenPacket: %v", err)
	}
}
