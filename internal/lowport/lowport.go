// Package lowport explains why a program may not bind a port of IP.
package lowport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

// Explain adds to the error of a bind that was refused for its low port what can be done
// about it. Other errors, nil among them, it returns as they are.
func Explain(err error, network, address string) error {
	if !errors.Is(err, syscall.EACCES) || strings.HasPrefix(network, "unix") {
		return err
	}
	_, text, serr := net.SplitHostPort(address)
	if serr != nil {
		return err
	}
	port, lerr := net.DefaultResolver.LookupPort(context.Background(), network, text)
	if lerr != nil || port == 0 || port >= firstFree() {
		return err
	}
	if runtime.GOOS != "linux" {
		return fmt.Errorf("%w: ports below %d are for root alone; use a higher one", err, firstFree())
	}
	return fmt.Errorf("%w: ports below %d want CAP_NET_BIND_SERVICE (AmbientCapabilities=CAP_NET_BIND_SERVICE in a unit), "+
		"or a lower net.ipv4.ip_unprivileged_port_start (sysctl), or a socket that systemd opens (handoff unit writes one)", err, firstFree())
}

// firstFree is the first port that anybody may bind: see ip(7).
func firstFree() int {
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start")
	if n, nerr := strconv.Atoi(strings.TrimSpace(string(text))); err == nil && nerr == nil {
		return n
	}
	return 1024
}
