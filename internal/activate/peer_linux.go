package activate

import (
	"strconv"

	"golang.org/x/sys/unix"
)

func otherPeer(sa unix.Sockaddr) PeerAddr {
	if sa, ok := sa.(*unix.SockaddrVM); ok {
		return PeerAddr{"vsock:" + strconv.FormatUint(uint64(sa.CID), 10), strconv.FormatUint(uint64(sa.Port), 10)}
	}
	return PeerAddr{}
}
