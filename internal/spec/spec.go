// Package spec reads how sockets are named on a command line,
// [NAME=][TYPE::]VALUE[?OPTION[&OPTION]...], and opens them.
//
// It understands what systemfd understands, but for one thing: a port alone is that
// port of all addresses, as for systemd and for package net, and not of 127.0.0.1.
package spec

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
)

// Types are the words that may stand before "::".
var Types = []string{"tcp", "http", "https", "udp", "unix", "unixgram", "seqpacket", "vsock", "fd"}

// Spec is a socket to listen on.
type Spec struct {
	// Name is what the program finds the socket by: FileDescriptorName= in
	// systemd.socket(5), an element of LISTEN_FDNAMES. "" if none was given.
	Name string
	// Type is one of Types. Where none was given it is "unix" for a path and an
	// abstract address, else "tcp". "http" and "https" say which protocol is
	// spoken on a stream, of TCP or of a unix socket.
	Type string
	// Value is the address: a path, "@" and an abstract address, "HOST:PORT",
	// "CID:PORT" of vsock(7), or the number of a descriptor. The host is "" for
	// all addresses, an IP address, with brackets if it is one of IPv6, or a host's
	// name. The port is a number, maybe 0. The CID is "" for all of the machine's.
	Value string
	// Options are those after the question mark.
	Options Options
}

// Options say how a socket is made. The zero value is what package net does.
type Options struct {
	Mode        os.FileMode // of a unix socket's file; 0: what the umask leaves of 0777
	Owner       string      // of a unix socket's file, by name or number; "": who makes it
	Group       string      // likewise
	Backlog     int         // how many connections may wait to be accepted; 0: the system's most
	ReusePort   bool        // SO_REUSEPORT: others of the same user may bind the address too
	FreeBind    bool        // IP_FREEBIND: the address need not be there yet
	DeferAccept int         // TCP_DEFER_ACCEPT: seconds that a connection without data waits aside; 0: none
	KeepAlive   bool        // SO_KEEPALIVE for the connections, by the system's intervals
	V6Only      bool        // IPV6_V6ONLY: no IPv4 on an IPv6 socket
}

// Unix tells whether the socket is a unix one.
func (s Spec) Unix() bool {
	switch s.Type {
	case "unix", "unixgram", "seqpacket":
		return true
	case "vsock", "fd":
		return false
	}
	return strings.HasPrefix(s.Value, "@") || strings.Contains(s.Value, "/")
}

// Path tells whether the socket is a unix one with a file.
func (s Spec) Path() bool { return s.Unix() && !strings.HasPrefix(s.Value, "@") }

// IPv4 tells whether the address is one of IPv4, so that the socket is too.
func (s Spec) IPv4() bool {
	if !isIP(s) {
		return false
	}
	host, _, err := net.SplitHostPort(s.Value)
	return err == nil && isIPv4(host)
}

// Network is what package net calls the socket's network: "tcp", "udp", "unix",
// "unixgram" or "unixpacket". It is "vsock" and "fd" for what that doesn't know.
func (s Spec) Network() string {
	switch {
	case s.Type == "seqpacket":
		return "unixpacket"
	case s.Type == "udp", s.Type == "unixgram", s.Type == "vsock", s.Type == "fd":
		return s.Type
	case s.Unix():
		return "unix"
	}
	return "tcp"
}

// Datagram tells whether nothing can be accepted from the socket.
func (s Spec) Datagram() bool { return s.Type == "udp" || s.Type == "unixgram" }

// String is the specification with all that it means said.
func (s Spec) String() string {
	text := s.Type + "::" + s.Value
	if s.Name != "" {
		text = s.Name + "=" + text
	}
	options := s.Options.String()
	if options != "" || strings.Contains(s.Value, "?") {
		text += "?" + options
	}
	return text
}

// String is the options as they stand after the question mark.
func (o Options) String() string {
	var all []string
	add := func(is bool, format string, args ...any) {
		if is {
			all = append(all, fmt.Sprintf(format, args...))
		}
	}
	add(o.Mode != 0, "mode=%04o", uint32(o.Mode))
	add(o.Owner != "", "owner=%s", o.Owner)
	add(o.Group != "", "group=%s", o.Group)
	add(o.Backlog != 0, "backlog=%d", o.Backlog)
	add(o.ReusePort, "reuseport")
	add(o.FreeBind, "freebind")
	add(o.DeferAccept != 0, "defer-accept=%d", o.DeferAccept)
	add(o.KeepAlive, "keepalive")
	add(o.V6Only, "v6only")
	return strings.Join(all, "&")
}

// An Error says what is wrong with a specification, and where.
type Error struct {
	Spec    string // the whole of it
	At      int    // the offset in bytes of the part that is wrong
	Reason  string
	Example string // a right one
}

// Error is of four lines: what is wrong, the specification, a caret below the place,
// and an example.
func (e *Error) Error() string {
	const most = 60 // characters before and after the place
	before, after := quoted(e.Spec[:e.At]), quoted(e.Spec[e.At:])
	if len(before) > most {
		before = append([]rune("..."), before[len(before)-most:]...)
	}
	if len(after) > most {
		after = append(after[:most:most], []rune("...")...)
	}
	return fmt.Sprintf("socket: %s\n  %s%s\n  %s^\n  right is, for example, %s",
		e.Reason, string(before), string(after), strings.Repeat(" ", len(before)), e.Example)
}

// quoted has no character that moves the cursor.
func quoted(text string) []rune {
	q := strconv.Quote(text)
	return []rune(strings.ReplaceAll(strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`), `\\`, `\`))
}
