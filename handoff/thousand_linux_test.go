package handoff

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// What a thousand listeners cost a successor to take over and its predecessor to hand on.
func BenchmarkAThousandListeners(b *testing.B) {
	const n = 1000
	const first = 4000
	var lns []*net.TCPListener
	var names []string
	l0, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	port := l0.Addr().(*net.TCPAddr).Port
	l0.Close()
	var addrs []string
	for i := range n {
		addr := fmt.Sprintf("127.7.%d.%d:%d", i/250, i%250+1, port)
		ln, err := net.Listen("tcp", addr)
		if err != nil {
			b.Fatal(err)
		}
		lns = append(lns, ln.(*net.TCPListener))
		names = append(names, fmt.Sprint("http", i))
		addrs = append(addrs, addr)
	}
	var fds []int
	for _, l := range lns {
		r, _ := l.SyscallConn()
		r.Control(func(fd uintptr) { fds = append(fds, int(fd)) })
	}
	defer func() {
		for _, l := range lns {
			l.Close()
		}
	}()
	for b.Loop() {
		b.StopTimer()
		for i, fd := range fds {
			if err := unix.Dup3(fd, first+i, 0); err != nil {
				b.Fatal(err)
			}
		}
		os.Setenv("LISTEN_FDS", strconv.Itoa(n))
		os.Setenv("LISTEN_FDS_FIRST_FD", strconv.Itoa(first))
		os.Setenv("LISTEN_FDNAMES", strings.Join(names, ":"))
		os.Setenv("LISTEN_PID", strconv.Itoa(os.Getpid()))
		os.Unsetenv("NOTIFY_SOCKET")
		b.StartTimer()
		t := b.Elapsed()
		up, err := New(Options{})
		if err != nil {
			b.Fatal(err)
		}
		t1 := b.Elapsed()
		up.origins = make([]origin, n)
		for i := range n {
			up.origins[i] = origin{Ours: true, Name: names[i], Network: "tcp", Address: addrs[i]}
		}
		for i := range n {
			if _, err := up.Listen(names[i], "tcp", addrs[i]); err != nil {
				b.Fatal(err)
			}
		}
		t2 := b.Elapsed()
		files, _, err := up.exports()
		if err != nil {
			b.Fatal(err)
		}
		t3 := b.Elapsed()
		closeAll(files)
		t4 := b.Elapsed()
		b.StopTimer()
		b.ReportMetric(float64((t1 - t).Microseconds()), "us/New")
		b.ReportMetric(float64((t2 - t1).Microseconds()), "us/Listen")
		b.ReportMetric(float64((t3 - t2).Microseconds()), "us/exports")
		b.ReportMetric(float64((t4 - t3).Microseconds()), "us/close")
		up.Close()
		b.StartTimer()
	}
}
