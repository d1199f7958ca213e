//go:build unix && !linux

package handoff

import "golang.org/x/sys/unix"

// familyOf goes by the bound address, as SO_DOMAIN is not to be had everywhere.
func familyOf(_ int, bound unix.Sockaddr, class socketClass) string {
	switch bound.(type) {
	case *unix.SockaddrUnix:
		return "unix"
	case *unix.SockaddrInet4, *unix.SockaddrInet6:
		switch class {
		case classStream:
			return "TCP"
		case classDatagram:
			return "UDP"
		}
		return "IP"
	}
	return "unknown"
}

func regularKindOf(int, bool) (Kind, string) { return KindFile, "" }
