package handoff

import "net"

// keepAlive sets on a connection what ListenConfig's KeepAlive and KeepAliveConfig say.
// Package net does so for the listeners that a ListenConfig has opened, and gives what
// comes from an inherited descriptor its defaults.
func keepAlive(lc *net.ListenConfig, c net.Conn) net.Conn {
	t, ok := c.(*net.TCPConn)
	if !ok || lc == nil || lc.KeepAlive == 0 && !lc.KeepAliveConfig.Enable {
		return c
	}
	config := lc.KeepAliveConfig
	if !config.Enable && lc.KeepAlive > 0 {
		config = net.KeepAliveConfig{Enable: true, Idle: lc.KeepAlive}
	}
	_ = t.SetKeepAliveConfig(config) // it fails only on a connection that has ended
	return c
}
