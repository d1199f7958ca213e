//go:build unix && !linux

package activate

import "golang.org/x/sys/unix"

func otherPeer(unix.Sockaddr) PeerAddr { return PeerAddr{} }
