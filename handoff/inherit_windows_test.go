package handoff

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
)

const inheritPart = "HANDOFF_TEST_INHERIT"

func init() {
	if os.Getenv(inheritPart) != "" {
		if err := playSystemfdChild(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
}

// playSystemfdChild lists what it got, and in the part "serve" serves one client
// on each of two sockets.
func playSystemfdChild() error {
	set, err := Inherit(InheritOptions{})
	if err != nil {
		return err
	}
	if os.Getenv(envServer)+os.Getenv(envSecret) != "" {
		return errors.New("still in the environment")
	}
	for e := range set.All() {
		fmt.Println(e)
	}
	if os.Getenv(inheritPart) == "list" {
		return set.Close()
	}
	ln, err := set.TCPListener(ByIndex(0))
	if err != nil {
		return err
	}
	pc, err := set.UDPConn(ByName("unknown"))
	if err != nil {
		return err
	}
	c, err := ln.Accept()
	if err != nil {
		return err
	}
	if _, err := io.Copy(c, c); err != nil {
		return err
	}
	buf := make([]byte, 64)
	n, from, err := pc.ReadFrom(buf)
	if err != nil {
		return err
	}
	_, err = pc.WriteTo(buf[:n], from)
	return errors.Join(err, c.Close(), ln.Close(), pc.Close())
}

// boundSocket is as systemfd makes one: on no completion port.
func boundSocket(t *testing.T, typ int) (windows.Handle, string) {
	h, err := windows.Socket(windows.AF_INET, typ, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { windows.Closesocket(h) })
	if err := windows.Bind(h, &windows.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if typ == windows.SOCK_STREAM {
		if err := windows.Listen(h, 5); err != nil {
			t.Fatal(err)
		}
	}
	sa, err := windows.Getsockname(h)
	if err != nil {
		t.Fatal(err)
	}
	return h, fmt.Sprintf("127.0.0.1:%d", sa.(*windows.SockaddrInet4).Port)
}

// shareSockets answers as systemfd does.
func shareSockets(ln net.Listener, secret string, sockets ...windows.Handle) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		q, _ := io.ReadAll(c)
		var pid uint32
		if _, err := fmt.Sscanf(strings.TrimPrefix(string(q), secret), "|%d", &pid); err == nil {
			for _, h := range sockets {
				var info windows.WSAProtocolInfo
				if windows.WSADuplicateSocket(h, pid, &info) == nil {
					_, _ = c.Write(unsafe.Slice((*byte)(unsafe.Pointer(&info)), unsafe.Sizeof(info)))
				}
			}
		}
		c.Close()
	}
}

// systemfd shares the sockets with a child that is to play a part.
type systemfd struct {
	server           string
	tcpAddr, udpAddr string
}

func startSystemfd(t *testing.T) systemfd {
	tcp, tcpAddr := boundSocket(t, windows.SOCK_STREAM)
	udp, udpAddr := boundSocket(t, windows.SOCK_DGRAM)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go shareSockets(ln, "s3cret", tcp, udp)
	return systemfd{ln.Addr().String(), tcpAddr, udpAddr}
}

func (s systemfd) child(t *testing.T, part string) (*exec.Cmd, *strings.Builder) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), inheritPart+"="+part, envServer+"="+s.server, envSecret+"=s3cret")
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	return cmd, &out
}

func TestAChildOfSystemfdFindsItsSockets(t *testing.T) {
	s := startSystemfd(t)
	cmd, out := s.child(t, "list")
	if err := cmd.Run(); err != nil {
		t.Fatal(err, out)
	}
	for _, want := range []string{`"unknown": TCP listener on ` + s.tcpAddr, `"unknown": UDP socket on ` + s.udpAddr} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("got %q, want %q in it", out, want)
		}
	}
}

// The second child gets sockets that were on the first one's completion port.
func TestOneChildOfSystemfdServesAfterAnother(t *testing.T) {
	needsPortChange(t)
	s := startSystemfd(t)
	for range 2 {
		cmd, out := s.child(t, "serve")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(echoed("tcp", s.tcpAddr), echoed("udp", s.udpAddr)); err != nil {
			t.Error(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Fatal(err, out)
		}
	}
}

// needsPortChange skips where even net can't move a socket from one completion
// port to another: Windows before 8.1, Wine 8.
func needsPortChange(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	f, err := ln.(*net.TCPListener).File()
	switch {
	case err == nil:
		f.Close()
	case os.Getenv("CI") == "true":
		t.Fatal(err)
	default:
		t.Skipf("this system can't take a socket off a completion port, which net.FileListener needs: %v", err)
	}
}

func echoed(network, addr string) error {
	c, err := net.Dial(network, addr)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(c, "hello"); err != nil {
		return err
	}
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.CloseWrite()
	}
	buf := make([]byte, 64)
	n, err := c.Read(buf)
	if err == nil && string(buf[:n]) != "hello" {
		err = fmt.Errorf("got back %q", buf[:n])
	}
	return err
}
