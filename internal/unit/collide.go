package unit

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/handoff-dev/handoff/internal/spec"
)

// checkCollisions returns an error for two sockets of which systemd can't open the second
// one: a stream socket of an address that takes the other's connections too. By default
// (BindIPv6Only=default in systemd.socket(5)) [::] is IPv4's addresses as well. Datagram
// sockets it opens, for it sets SO_REUSEADDR.
func checkCollisions(all []spec.Spec) error {
	for i, a := range all {
		for _, b := range all[:i] {
			wide, narrow := a, b
			if !covers(a, b) {
				if wide, narrow = b, a; !covers(b, a) {
					continue
				}
			}
			return fmt.Errorf("systemd can't open both %s::%s and %s::%s: the first takes the connections of the second too; leave out %s::%s",
				wide.Type, wide.Value, narrow.Type, narrow.Value, narrow.Type, narrow.Value)
		}
	}
	return nil
}

// covers tells whether a takes the connections to b's address too.
func covers(a, b spec.Spec) bool {
	if a.Unix() || b.Unix() || a.Network() != "tcp" || b.Network() != "tcp" {
		return false
	}
	aHost, aPort, aErr := net.SplitHostPort(a.Value)
	bHost, bPort, bErr := net.SplitHostPort(b.Value)
	if aErr != nil || bErr != nil || aPort != bPort {
		return false
	}
	if aHost == "" {
		aHost = "::"
	}
	if bHost == "" {
		bHost = "::"
	}
	wide, err := netip.ParseAddr(aHost)
	narrow, nerr := netip.ParseAddr(bHost)
	if err != nil || nerr != nil || !wide.IsUnspecified() {
		return false
	}
	return wide.Is6() || narrow.Is4()
}
