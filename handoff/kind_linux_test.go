package handoff

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

func TestAMemfdIsTold(t *testing.T) {
	t.Parallel()
	fd, err := unix.MemfdCreate("state", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	wantKind(t, fd, KindMemfd, "")
}

func TestAMessageQueueIsNoRegularFile(t *testing.T) {
	t.Parallel()
	name, err := unix.BytePtrFromString(fmt.Sprintf("handoff-%d", os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	fd, _, errno := unix.Syscall6(unix.SYS_MQ_OPEN, uintptr(unsafe.Pointer(name)),
		unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o600, 0, 0, 0)
	if errno != 0 {
		t.Skipf("this system makes no message queue: %v", errno)
	}
	defer unix.Close(int(fd))
	defer unix.Syscall(unix.SYS_MQ_UNLINK, uintptr(unsafe.Pointer(name)), 0, 0)
	wantKind(t, int(fd), KindOther, "POSIX message queue")
}

func TestSocketsOfOtherFamiliesSayWhatTheyAre(t *testing.T) {
	for _, tc := range []struct {
		domain, typ, proto int
		text               string
	}{
		{unix.AF_NETLINK, unix.SOCK_RAW, 0, "netlink raw socket"},
		{unix.AF_VSOCK, unix.SOCK_STREAM, 0, "vsock stream socket"},
		{unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP, "IP protocol 1 raw socket"},
		{unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_SCTP, "SCTP stream socket"},
		{unix.AF_PACKET, unix.SOCK_DGRAM, 0, "packet datagram socket"},
	} {
		t.Run(tc.text, func(t *testing.T) {
			t.Parallel()
			wantKind(t, socketFD(t, tc.domain, tc.typ, tc.proto), KindSocket, tc.text)
		})
	}
}

func TestAVsockListenerIsNoTCPListener(t *testing.T) {
	t.Parallel()
	fd := socketFD(t, unix.AF_VSOCK, unix.SOCK_STREAM, 0)
	if err := unix.Bind(fd, &unix.SockaddrVM{CID: unix.VMADDR_CID_ANY, Port: unix.VMADDR_PORT_ANY}); err != nil {
		t.Skipf("vsock can't be bound here: %v", err)
	}
	if err := unix.Listen(fd, 1); err != nil {
		t.Skipf("vsock can't listen here: %v", err)
	}
	wantKind(t, fd, KindSocket, "vsock stream listener")
}

func TestAnMPTCPListenerIsATCPListener(t *testing.T) {
	t.Parallel()
	fd := socketFD(t, unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP)
	if err := unix.Listen(fd, 1); err != nil {
		t.Fatal(err)
	}
	wantKind(t, fd, KindTCPListener, "")
}

func TestAbstractAndUnnamedUnixAddressesAreToldAsNetDoes(t *testing.T) {
	t.Parallel()
	name := "@handoff-" + strings.ReplaceAll(t.TempDir(), "/", "-")
	fd := unixFD(t, "unix", name)
	defer unix.Close(fd)
	if _, _, local, _ := kindOf(fd); local.String() != name {
		t.Errorf("got %v, want %s", local, name)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	kind, _, local, remote := kindOf(pair[0])
	if kind != KindSeqpacketConn || local.String() != "" || remote.String() != "" {
		t.Errorf("got %v on %v with peer %v", kind, local, remote)
	}
}

func TestAResetConnectionIsUnconnected(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	client.(*net.TCPConn).SetLinger(0)
	client.Close()
	if _, err := c.Read(make([]byte, 1)); err == nil { // until the reset is in
		t.Fatal("read something")
	}
	fd := dupOf(t, c)
	defer unix.Close(fd)
	wantKind(t, fd, KindSocket, "unconnected TCP socket")
}

func TestOwnPidfdIDIsThatOfAPidfd(t *testing.T) {
	t.Parallel()
	id, ok := ownPidfdID()
	if !ok {
		t.Skip("this kernel has no pidfs (Linux 6.9)")
	}
	fd, err := unix.PidfdOpen(os.Getppid(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		t.Fatal(err)
	}
	again, _ := ownPidfdID()
	if id == 0 || id != again || id == st.Ino {
		t.Errorf("own id %d, then %d, the parent's %d", id, again, st.Ino)
	}
}

func memfdFile() (*os.File, error) {
	fd, err := unix.MemfdCreate("state", unix.MFD_CLOEXEC)
	return os.NewFile(uintptr(fd), "state"), err
}
