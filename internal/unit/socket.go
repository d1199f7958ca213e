package unit

import (
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/handoff-dev/handoff/internal/spec"
)

// sockets are those of one unit.
type sockets struct {
	name string // of the descriptors
	unit string // file
	all  []spec.Spec
}

func unitNames(groups []*sockets) []string {
	names := make([]string, len(groups))
	for i, g := range groups {
		names[i] = g.unit
	}
	return names
}

// group puts sockets of one name together, in the order in which they were given.
func group(o Options) ([]*sockets, error) {
	var groups []*sockets
	byName := map[string]*sockets{}
	addresses := map[string]bool{}
	for _, s := range o.Sockets {
		name := s.Name
		if name == "" {
			name = s.Type
		}
		line, err := listen(s)
		if err != nil {
			return nil, err
		}
		if addresses[line] {
			return nil, fmt.Errorf("socket %s::%s is there twice", s.Type, s.Value)
		}
		addresses[line] = true
		g := byName[name]
		if g == nil {
			g = &sockets{name: name}
			byName[name] = g
			groups = append(groups, g)
		}
		g.all = append(g.all, s)
	}
	if err := checkCollisions(o.Sockets); err != nil {
		return nil, err
	}
	taken := map[string]string{}
	for _, g := range groups {
		g.unit = o.Name + ".socket" // what systemd pairs with the service
		if len(groups) > 1 {
			g.unit = o.Name + "-" + strings.Trim(notInName.ReplaceAllString(g.name, "-"), "-") + ".socket"
		}
		if other, ok := taken[g.unit]; ok {
			return nil, fmt.Errorf("the sockets named %q and %q would both be of the unit %s", other, g.name, g.unit)
		}
		if len(g.unit) > 255 {
			return nil, fmt.Errorf("the name of the unit %s is longer than 255 characters", g.unit)
		}
		taken[g.unit] = g.name
	}
	return groups, nil
}

// listen returns the setting that opens a socket.
func listen(s spec.Spec) (string, error) {
	name := "ListenStream"
	switch s.Network() {
	case "udp", "unixgram":
		name = "ListenDatagram"
	case "unixpacket":
		name = "ListenSequentialPacket"
	}
	address := s.Value
	switch {
	case s.Type == "fd":
		return "", fmt.Errorf("socket %s: systemd opens its sockets itself: give it an address", s)
	case s.Options != spec.Options{}:
		return "", fmt.Errorf("socket %s: in a unit options are settings, see systemd.socket(5): leave out ?%s, and write %s into the [Socket] section",
			s, s.Options, strings.Join(asSettings(s.Options), " and "))
	case s.Path() && !strings.HasPrefix(s.Value, "/"):
		return "", fmt.Errorf("socket %s: systemd wants an absolute path", s)
	case s.Type == "vsock":
		address = "vsock:" + s.Value
	case !s.Unix():
		host, port, err := net.SplitHostPort(s.Value)
		if err != nil {
			return "", fmt.Errorf("socket %s::%s: %w", s.Type, s.Value, err)
		}
		if port == "0" {
			return "", fmt.Errorf("socket %s::%s: systemd opens no port 0: give it a number from 1 to 65535", s.Type, s.Value)
		}
		ip, err := netip.ParseAddr(host)
		switch {
		case host == "":
			address = port
		case err == nil && ip.Zone() != "": // has a place of its own in systemd.socket(5)
			address = net.JoinHostPort(ip.WithZone("").String(), port) + "%" + ip.Zone()
		case err != nil:
			return "", fmt.Errorf("socket %s::%s: systemd knows no hosts' names: give it an address, such as 127.0.0.1:%s", s.Type, s.Value, port)
		}
	}
	escaped, err := value(address)
	if err != nil {
		return "", fmt.Errorf("socket %s::%q: %w", s.Type, s.Value, err)
	}
	return name + "=" + escaped, nil
}

// asSettings are what systemd calls the options.
func asSettings(o spec.Options) (all []string) {
	for _, s := range []struct {
		is      bool
		setting string
	}{
		{o.Mode != 0, fmt.Sprintf("SocketMode=%04o", uint32(o.Mode))},
		{o.Owner != "", "SocketUser=" + o.Owner},
		{o.Group != "", "SocketGroup=" + o.Group},
		{o.Backlog > 0, fmt.Sprintf("Backlog=%d", o.Backlog)},
		{o.ReusePort, "ReusePort=yes"},
		{o.FreeBind, "FreeBind=yes"},
		{o.DeferAccept > 0, fmt.Sprintf("DeferAcceptSec=%d", o.DeferAccept)},
		{o.KeepAlive, "KeepAlive=yes"},
		{o.V6Only, "BindIPv6Only=ipv6-only"},
	} {
		if s.is {
			all = append(all, s.setting)
		}
	}
	return all
}

func socket(o Options, g *sockets, several bool) (string, error) {
	var t text
	t.line("# The " + g.name + " socket of " + o.Name + ".service. It is there before the program, over its restarts and")
	t.line("# after its crash, and the first connection starts the program.")
	t.line("")
	t.line("[Unit]")
	t.quoted("Description", o.Description+" ("+g.name+")")
	t.line("")
	t.line("[Socket]")
	t.line("# This address counts, and none that the program is told otherwise.")
	unix := false
	for _, s := range g.all {
		line, err := listen(s)
		if err != nil {
			return "", err
		}
		t.line(line)
		unix = unix || strings.HasPrefix(s.Value, "/")
	}
	if unix {
		t.set("SocketMode", "0666", "Who may connect: everybody. With 0660 and SocketUser= or SocketGroup= it is fewer.")
	}
	t.line("")
	t.quoted("FileDescriptorName", g.name,
		"The program finds the socket by this name. All sockets of one unit share their name.")
	if several {
		t.line("")
		t.set("Service", o.Name+".service", "Without this line the socket would be for a service of its own name.")
	}
	t.line("")
	t.line("[Install]")
	t.set("WantedBy", "sockets.target")
	return t.result()
}
