package handoff

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/handoff-dev/handoff/handoff/internal/address"
)

// request is what a program asks Listen for.
type request struct {
	name, network, address string
	meant                  address.Endpoint
}

// sameWords tells whether a generation of this service has asked for the socket so.
func (r request) sameWords(o origin) bool {
	return o.Ours && o.Network == r.network && o.Address == r.address
}

// boundTo is where an inherited socket is bound.
func boundTo(e Entry) address.Endpoint {
	at := address.Bound(e.Addr, false)
	if at.Versions == address.Both && v6Only(e.FD) {
		at.Versions = address.V6
	}
	return at
}

// claim takes the inherited socket that Listen's documentation promises for a
// request, or returns nil.
func (u *Upgrader) claim(want request) *inherited {
	exact := func(_ origin, at address.Endpoint) bool { return want.meant.Specific() && at == want.meant }
	same := func(o origin, at address.Endpoint) bool { return want.sameWords(o) || exact(o, at) }
	sameSpecific := func(o origin, at address.Endpoint) bool { return want.meant.Specific() && same(o, at) }
	near := func(_ origin, at address.Endpoint) bool { return want.meant.Specific() && at.Overlaps(want.meant) }
	always := func(origin, address.Endpoint) bool { return true }
	for _, rule := range []struct {
		eligible func(o origin, name string) bool
		match    func(o origin, at address.Endpoint) bool
	}{
		{func(o origin, name string) bool { return name == want.name && o.Ours }, same},
		{func(o origin, name string) bool { return name == want.name && !o.Ours }, exact},
		{func(o origin, name string) bool { return name == want.name && !o.Ours }, near},
		{func(o origin, name string) bool { return name == want.name && !o.Ours && name != "" }, always},
		{func(o origin, _ string) bool { return u.nameless() && want.sameWords(o) }, always},
		{func(o origin, _ string) bool { return o.Ours }, sameSpecific},
		{func(o origin, _ string) bool { return !o.Ours }, exact},
		{func(o origin, _ string) bool { return !o.Ours }, near},
	} {
		in, ok := u.inherited.takeOf(
			func(i int, name string) bool { return rule.eligible(u.originOf(i), name) },
			func(e Entry) bool {
				o, at := u.originOf(e.Index), boundTo(e)
				return kindFamily(e.Kind) == address.Family(want.network) && address.Serves(want.network, at.Versions) &&
					reachable(o) && rule.match(o, at)
			})
		if ok {
			return in
		}
	}
	return nil
}

func (u *Upgrader) originOf(index int) (o origin) {
	if index < len(u.origins) {
		o = u.origins[index]
	}
	return o
}

// warnOfVersion says that what was claimed is open by a version of IP that wasn't asked
// for.
func (u *Upgrader) warnOfVersion(want request, in *inherited) {
	at := boundTo(in.Entry)
	if !at.WiderThan(want.meant) {
		return
	}
	why := "it comes from outside: change it there, such as ListenStream=0.0.0.0:80 in a .socket unit"
	if u.originOf(in.Index).Ours {
		why = "an older release has opened it; stop and start the service once"
	}
	u.log.Warn("an inherited socket is open by more than was asked for", "socket", in.String(), "network", want.network,
		"address", want.address, "asked", want.meant.Versions.String(), "open", at.Versions.String(), "advice", why)
}

func kindFamily(k Kind) string {
	switch k {
	case KindTCPListener:
		return "tcp"
	case KindUnixListener:
		return "unix"
	case KindSeqpacketListener:
		return "unixpacket"
	case KindUDP:
		return "udp"
	case KindUnixgram:
		return "unixgram"
	}
	return ""
}

// explain adds to a failed bind which inherited socket has the address and was
// not taken.
func (u *Upgrader) explain(err error, want request) error {
	if !errors.Is(err, syscall.EADDRINUSE) || !want.meant.Specific() {
		return err
	}
	for e := range u.inherited.All() {
		have := boundTo(e)
		sameKind := have.Family == want.meant.Family || want.meant.Path != "" // one path is for one socket of any type
		switch {
		case !sameKind || have.Port != want.meant.Port || have.Path != want.meant.Path:
			continue
		case have.Host == want.meant.Host && have.Versions != want.meant.Versions:
			return fmt.Errorf("%w: %s is asked for, and this process inherited %v, which is %s and can't change: stop and start the service, or ask for that",
				err, want.meant.Versions, e, have.Versions)
		}
		return fmt.Errorf("%w (this process inherited %v, which was not taken)", err, e)
	}
	return err
}
