package spec

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestLinuxOptionsAreSet(t *testing.T) {
	t.Parallel()
	// 192.0.2.0/24 is of nobody: RFC 5737.
	for i, s := range mustOpen(t, "127.0.0.1:0", "192.0.2.1:0?freebind&defer-accept=7") {
		wantOption(t, s, "IP_FREEBIND", unix.SOL_IP, unix.IP_FREEBIND, i)
		wantOption(t, s, "TCP_DEFER_ACCEPT", unix.SOL_TCP, unix.TCP_DEFER_ACCEPT, i)
		control1(t, s, func(fd int) error {
			p, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
			if p != unix.IPPROTO_TCP {
				t.Errorf("%s has protocol %d, want plain TCP", s, p)
			}
			return err
		})
	}
	if six, err := Open(t.Context(), parse(t, "[2001:db8::1]:0?freebind")); err != nil {
		if _, no := net.Listen("tcp", "[::1]:0"); no == nil {
			t.Error(err)
		}
	} else {
		six[0].Close()
	}
}

// backlogs of listeners are what ss -l shows as Send-Q; the kernel tells it by TCP_INFO.
func TestTheBacklogIsAsked(t *testing.T) {
	t.Parallel()
	for i, s := range mustOpen(t, "127.0.0.1:0?backlog=3", "127.0.0.1:0?backlog=17") {
		control1(t, s, func(fd int) error {
			info, err := unix.GetsockoptTCPInfo(fd, unix.SOL_TCP, unix.TCP_INFO)
			if err == nil && int(info.Sacked) != []int{3, 17}[i] {
				t.Errorf("%s: the backlog is %d", s, info.Sacked)
			}
			return err
		})
	}
	s := mustOpen(t, folder(t)+"/s?backlog=1")[0]
	for n := 0; ; n++ {
		c, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(c)
		if err := unix.Connect(c, &unix.SockaddrUnix{Name: s.Addr.String()}); errors.Is(err, unix.EAGAIN) {
			if n != 2 { // one more than the backlog
				t.Errorf("%d connections wait", n)
			}
			return
		} else if err != nil || n > 9 {
			t.Fatal(n, err)
		}
	}
}

// At no instant may the file let in more than its mode says.
func TestTheFileIsBornWithItsMode(t *testing.T) { // the umask is the process's: not in parallel
	old := unix.Umask(0)
	defer unix.Umask(old)
	path := folder(t) + "/s"
	fd, err := newSocket(unix.AF_UNIX, unix.SOCK_STREAM)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	beforeBirth(fd, 0o600)
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestALinkInTheFilesPlaceIsNotFollowed(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	s := mustOpen(t, dir+"/s")[0]
	if err := errors.Join(os.Rename(dir+"/s", dir+"/t"), os.Chmod(dir+"/t", 0o600), os.Symlink("t", dir+"/s")); err != nil {
		t.Fatal(err)
	}
	if err := setFile(dir+"/s", s.file, 0o777, owners{-1, -1}); err == nil || !strings.Contains(err.Error(), "replaced") {
		t.Errorf("the error is %v", err)
	}
	if info, err := os.Stat(dir + "/t"); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestAVsockIsOpenedOrSaidToBeMissing(t *testing.T) {
	t.Parallel()
	s, err := Open(t.Context(), parse(t, fmt.Sprintf("vsock::%d", 1_000_000+os.Getpid())))
	switch {
	case err == nil:
		defer s[0].Close()
		control1(t, s[0], func(fd int) error {
			sa, err := unix.Getsockname(fd)
			if vm, ok := sa.(*unix.SockaddrVM); !ok || vm.CID != unix.VMADDR_CID_ANY {
				t.Errorf("bound to %+v", sa)
			}
			return err
		})
	case !errors.Is(err, unix.EAFNOSUPPORT) || !strings.Contains(err.Error(), "modprobe"):
		t.Errorf("the error is %v", err)
	}
}
