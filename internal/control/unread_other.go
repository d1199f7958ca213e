//go:build !unix

package control

import "net"

func hasUnread(net.Conn) bool { return false }
