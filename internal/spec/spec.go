// Package spec reads how sockets are named on a command line: [NAME=][TYPE::]VALUE.
package spec

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Types are the words that may stand before "::".
var Types = []string{"tcp", "http", "https", "udp", "unix", "unixgram", "seqpacket"}

// Spec is a socket to listen on.
type Spec struct {
	// Name is what the program finds the socket by: FileDescriptorName= in
	// systemd.socket(5), an element of LISTEN_FDNAMES. "" if none was given.
	Name string
	// Type is one of Types. Where none was given it is "unix" for a path and an
	// abstract address, else "tcp". "http" and "https" say which protocol is
	// spoken on a stream, of TCP or of a unix socket.
	Type string
	// Value is the address: an absolute path, "@" and an abstract address, or
	// "HOST:PORT". The host is "" for all addresses, an IP address, with brackets
	// if it is one of IPv6, or a host's name. The port is a number, maybe 0.
	Value string
}

// An Error says what is wrong with a specification, and where.
type Error struct {
	Spec    string // the whole of it
	At      int    // the offset in bytes of the part that is wrong
	Reason  string
	Example string // a right one
}

func (e *Error) Error() string {
	place := "at its end"
	if e.At < len(e.Spec) {
		place = fmt.Sprintf("at %q", e.Spec[e.At:])
	}
	return fmt.Sprintf("socket %q, %s: %s; right is, for example, %s", e.Spec, place, e.Reason, e.Example)
}

// Unix tells whether the socket is a unix one.
func (s Spec) Unix() bool { return s.Value != "" && (s.Value[0] == '/' || s.Value[0] == '@') }

// Network is what package net calls the socket's network: "tcp", "udp", "unix",
// "unixgram" or "unixpacket".
func (s Spec) Network() string {
	switch {
	case s.Type == "seqpacket":
		return "unixpacket"
	case s.Type == "udp", s.Type == "unixgram":
		return s.Type
	case s.Unix():
		return "unix"
	}
	return "tcp"
}

// Parse reads one specification. An error is an [*Error].
func Parse(text string) (Spec, error) {
	p := parser{text: text}
	s := Spec{Name: p.name()}
	s.Type = p.kind()
	if p.err == nil {
		s.Value = p.value(&s.Type)
	}
	if p.err != nil {
		return Spec{}, p.err
	}
	return s, nil
}

type parser struct {
	text string
	at   int // what is before it has been read
	err  error
}

func (p *parser) fail(at int, example, reason string, args ...any) {
	if p.err == nil {
		p.err = &Error{Spec: p.text, At: at, Reason: fmt.Sprintf(reason, args...), Example: example}
	}
}

// name reads "NAME=". An equals sign in a path or after a type is none of it.
func (p *parser) name() string {
	name, _, found := strings.Cut(p.text, "=")
	if !found || strings.HasPrefix(name, "/") || strings.HasPrefix(name, "@") || strings.Contains(name, "::") {
		return ""
	}
	const example = "http=8080"
	p.at = len(name) + 1
	if name == "" {
		p.fail(0, example, "there is no name before the equals sign")
	}
	if len(name) > 255 {
		p.fail(0, example, "the name is of %d characters, and may have 255", len(name))
	}
	for i := range len(name) {
		switch c := name[i]; {
		case c < ' ' || c > '~':
			p.fail(i, example, "a name is of printable ASCII characters only")
		case c == ':' || c == '\\':
			p.fail(i, example, "no name may have a %q in it", c)
		}
	}
	if strings.TrimSpace(name) != name {
		p.fail(0, example, "the name begins or ends with a space")
	}
	return name
}

// kind reads "TYPE::".
func (p *parser) kind() string {
	word, _, found := strings.Cut(p.text[p.at:], "::")
	if !found || strings.ContainsAny(word, "/@[") {
		return ""
	}
	switch {
	case slices.Contains(Types, word):
	case word == "" || strings.Contains(word, ":"):
		p.fail(p.at, "[::1]:8080", "an IPv6 address stands in brackets, with a port after it")
	default:
		p.fail(p.at, "udp::53", "the type %q is none of %s", word, strings.Join(Types, ", "))
	}
	p.at += len(word) + 2
	return word
}

// value reads what is left, and finds the type where there is none yet.
func (p *parser) value(kind *string) string {
	v := p.text[p.at:]
	s := Spec{Type: *kind, Value: v}
	if i := strings.IndexFunc(v, func(r rune) bool { return r < ' ' || r == 0x7f }); i >= 0 {
		p.fail(p.at+i, "8080", "there is a control character")
		return ""
	}
	if *kind == "" {
		*kind = "tcp"
		if s.Unix() {
			*kind = "unix"
		}
	}
	needsPath := *kind == "unix" || *kind == "unixgram" || *kind == "seqpacket"
	switch {
	case s.Unix() && (*kind == "tcp" || *kind == "udp"):
		p.fail(p.at, "unix::/run/app.sock", "%s has no paths", *kind)
	case needsPath && !s.Unix():
		p.fail(p.at, *kind+"::/run/app.sock", "%s wants an absolute path, or an abstract address that begins with @", *kind)
	case s.Unix():
		p.unix(v)
	default:
		return p.hostPort(v)
	}
	return v
}

// maxUnix is how long a unix socket's address may be on Linux, with the byte that
// ends a path or begins an abstract address: unix(7).
const maxUnix = 108

func (p *parser) unix(v string) {
	switch {
	case v == "/" || v == "@":
		p.fail(p.at, v+"run/app.sock", "there is nothing after the %s", v)
	case v[0] == '/' && len(v)+1 > maxUnix, len(v) > maxUnix:
		p.fail(p.at, "/run/app.sock", "the address is of %d bytes, more than a unix socket's may have", len(v))
	}
}

func (p *parser) hostPort(v string) string {
	const example = "127.0.0.1:8080"
	if v == "" {
		p.fail(p.at, "8080", "a port, an address with a port, or a path is missing")
		return ""
	}
	if !strings.ContainsAny(v, ":./[") && v[0] >= '0' && v[0] <= '9' {
		v, p.at = ":"+v, p.at-1 // a port alone
	}
	host, port, err := net.SplitHostPort(v)
	switch {
	case strings.Contains(v, "/"):
		p.fail(p.at, "/run/app.sock", "this is no absolute path, and no address with a port")
	case err != nil && strings.Count(v, ":") > 1 && v[0] != '[':
		p.fail(p.at, "[::1]:8080", "an IPv6 address stands in brackets, with a port after it")
	case err != nil:
		p.fail(max(p.at, 0), example, "a port is missing, after a colon")
	}
	if p.err != nil {
		return ""
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || port != strconv.FormatUint(n, 10) {
		p.fail(p.at+len(v)-len(port), example, "the port is no number from 0 to 65535")
	}
	p.host(host, v[0] == '[')
	return v
}

func (p *parser) host(host string, bracketed bool) {
	if host == "" && !bracketed {
		return
	}
	at := p.at
	if bracketed {
		at++
	}
	addr, err := netip.ParseAddr(host)
	switch {
	case bracketed && (err != nil || !addr.Is6()):
		p.fail(at, "[::1]:8080", "there is no IPv6 address in the brackets")
	case err == nil:
	case host == "*":
		p.fail(at, "8080", "all addresses are meant by a port alone")
	case strings.Trim(host, "0123456789.") == "":
		p.fail(at, "127.0.0.1:8080", "this is no IPv4 address")
	case !isHostName(host):
		p.fail(at, "127.0.0.1:8080", "this is no address and no host's name")
	}
}

func isHostName(host string) bool {
	return strings.Trim(strings.ToLower(host), "abcdefghijklmnopqrstuvwxyz0123456789-._") == "" && host[0] != '-' && host[0] != '.'
}
