//go:build linux

package handoff

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestKeepAliveHoldsForWhatAnInheritedListenerAccepts(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		lc       net.ListenConfig
		on, idle int
	}{
		"KeepAlive":       {net.ListenConfig{KeepAlive: 77 * time.Second}, 1, 77},
		"KeepAliveConfig": {net.ListenConfig{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 78 * time.Second}}, 1, 78},
		"off":             {net.ListenConfig{KeepAlive: -1}, 0, 0},
		"default":         {net.ListenConfig{}, 1, 15},
	} {
		for _, moved := range []bool{false, true} {
			l := gated(t, "tcp", gateOpen) // opened without it, as an inherited one
			l.up = newUpgrader(t, Options{ListenConfig: &tc.lc})
			dialTo(t, l)
			if moved {
				c, err := l.socketListener.Accept()
				if err != nil {
					t.Fatal(err)
				}
				l.deliver(c, wait{})
			}
			c, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			raw, err := c.(*net.TCPConn).SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			raw.Control(func(fd uintptr) {
				on, _ := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_KEEPALIVE)
				idle, _ := unix.GetsockoptInt(int(fd), unix.SOL_TCP, unix.TCP_KEEPIDLE)
				if on != tc.on || on == 1 && idle != tc.idle {
					t.Errorf("%s, moved: %v: on: %d, idle: %d s, want %d and %d s", name, moved, on, idle, tc.on, tc.idle)
				}
			})
		}
	}
}
