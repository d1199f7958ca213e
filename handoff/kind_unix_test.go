//go:build unix

package handoff

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// socketFD is a bare socket, closed when the test ends.
func socketFD(t *testing.T, domain, typ, proto int) int {
	fd, err := unix.Socket(domain, typ, proto)
	if err != nil {
		t.Skipf("this system makes no socket of family %d, type %d, protocol %d: %v", domain, typ, proto, err)
	}
	unix.CloseOnExec(fd)
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

func wantKind(t *testing.T, fd int, kind Kind, text string) {
	t.Helper()
	got, gotText, _, _ := kindOf(fd)
	if got != kind || gotText != text {
		t.Errorf("got %v %q, want %v %q", got, gotText, kind, text)
	}
}

func TestASocketThatNeitherListensNorIsConnectedSaysSo(t *testing.T) {
	t.Parallel()
	wantKind(t, socketFD(t, unix.AF_INET, unix.SOCK_STREAM, 0), KindSocket, "unconnected TCP socket")
	wantKind(t, socketFD(t, unix.AF_INET6, unix.SOCK_STREAM, 0), KindSocket, "unconnected TCP socket")
	wantKind(t, socketFD(t, unix.AF_UNIX, unix.SOCK_STREAM, 0), KindSocket, "unconnected unix stream socket")
}

func TestUnboundDatagramSocketsAreTold(t *testing.T) {
	t.Parallel()
	wantKind(t, socketFD(t, unix.AF_INET, unix.SOCK_DGRAM, 0), KindUDP, "")
	wantKind(t, socketFD(t, unix.AF_INET6, unix.SOCK_DGRAM, 0), KindUDP, "")
	wantKind(t, socketFD(t, unix.AF_UNIX, unix.SOCK_DGRAM, 0), KindUnixgram, "")
}

func TestFilesAreTold(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	plain, err := os.Create(filepath.Join(dir, "plain"))
	if err != nil {
		t.Fatal(err)
	}
	unlinked, err := os.Create(filepath.Join(dir, "unlinked"))
	if err != nil {
		t.Fatal(err)
	}
	os.Remove(unlinked.Name())
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	folder, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for f, want := range map[*os.File]Kind{
		plain: KindFile, unlinked: KindFile, null: KindCharDevice, folder: KindDirectory, r: KindFIFO,
	} {
		fd := dupOf(t, f)
		wantKind(t, fd, want, "")
		unix.Close(fd)
	}
}

func TestTheBoundAddressIsToldInNetsOwnTypes(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	for _, network := range unixNetworks() {
		want := &net.UnixAddr{Name: path + network, Net: network}
		fd := unixFD(t, want.Network(), want.String())
		_, _, got, _ := kindOf(fd)
		unix.Close(fd)
		if got.Network() != want.Network() || got.String() != want.String() {
			t.Errorf("got %v, want %v", got, want)
		}
	}
	for network, addr := range map[string]string{"tcp4": "127.0.0.1:0", "tcp6": "[::1]:0"} {
		ln, err := net.Listen(network, addr)
		if err != nil {
			t.Logf("no %s here: %v", network, err)
			continue
		}
		want := ln.Addr()
		fd := dupOf(t, ln)
		_, _, got, peer := kindOf(fd)
		unix.Close(fd)
		if got.Network() != want.Network() || got.String() != want.String() || peer != nil {
			t.Errorf("got %v with peer %v, want %v", got, peer, want)
		}
	}
}
