//go:build linux

// Attacker floods the notification sockets of upgrades under way. Any process of the
// machine can find them in /proc/net/unix; here they come by standard input, so that
// no other tests' are attacked. It prints how many datagrams it has sent.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	fmt.Println("attacking as user", os.Getuid())
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	sent := 0
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		sent += flood(fd, lines.Text())
		fmt.Println("sent", sent, "to", lines.Text())
	}
}

// flood sends until the receiver is gone, some thousands a second.
func flood(fd int, address string) (sent int) {
	const noise = "READY=1\nSTATUS=attacked\nERRNO=5\nMAINPID=1\nSTOPPING=1\nEXTEND_TIMEOUT_USEC=9999999999999999"
	to := &unix.SockaddrUnix{Name: address}
	datagrams := []string{"READY=1", noise, "STOPPING=1", "BARRIER=1", "", "\x00\xff=\n", "FDSTORE=1\nFDNAME=x", "MAINPID=1", "READY=1\x00READY=1",
		strings.Repeat("X", 4096), "READY=1\n" + strings.Repeat("X=y\n", 1022), strings.Repeat("X", 60_000)}
	rights := unix.UnixRights(slices.Repeat([]int{fd}, 250)...)
	for began := time.Now(); time.Since(began) < 10*time.Second; {
		for i, datagram := range datagrams {
			attached := rights
			if i%2 == 0 {
				attached = nil
			}
			err := unix.Sendmsg(fd, []byte(datagram), attached, to, 0)
			var errno syscall.Errno
			switch {
			case err == nil:
				sent++
			case errors.As(err, &errno) && (errno == unix.EAGAIN || errno == unix.ETOOMANYREFS || errno == unix.ENOBUFS || errno == unix.EMSGSIZE):
				time.Sleep(100 * time.Microsecond) // its queue is full
			default:
				return sent
			}
		}
		time.Sleep(500 * time.Microsecond)
	}
	return sent
}
