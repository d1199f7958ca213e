package spec

import (
	"fmt"
	"math"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Style is which type a specification without one has.
type Style int

// The styles. An explicit type counts in each.
const (
	Stream    Style = iota // tcp and unix
	Datagram               // udp and unixgram
	Seqpacket              // seqpacket; an IP address is an error
)

// Parse reads one specification. An error is an [*Error].
func Parse(text string) (Spec, error) { return Stream.Parse(text) }

// Parse reads one specification. An error is an [*Error].
//
// The options begin at the last question mark, so a path with one in it gets another
// at its end.
func (style Style) Parse(text string) (Spec, error) {
	p := parser{text: text, style: style}
	s := Spec{Name: p.name()}
	s.Type = p.kind()
	p.end = len(text)
	if i := strings.LastIndexByte(text[p.at:], '?'); i >= 0 {
		p.end = p.at + i
	}
	if p.err == nil {
		s.Value = p.value(&s.Type)
	}
	if p.err == nil && p.end < len(text) {
		p.options(&s)
	}
	if p.err != nil {
		return Spec{}, p.err
	}
	return s, nil
}

type parser struct {
	text  string
	style Style
	at    int // what is before it has been read
	end   int // where the value ends
	err   error
}

func (p *parser) fail(at int, example, reason string, args ...any) {
	if p.err == nil {
		p.err = &Error{Spec: p.text, At: at, Reason: fmt.Sprintf(reason, args...), Example: example}
	}
}

// name reads "NAME=". An equals sign in a path, after a type or in the options is none
// of it.
func (p *parser) name() string {
	name, _, found := strings.Cut(p.text, "=")
	if !found || strings.HasPrefix(name, "/") || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "@") ||
		strings.Contains(name, "::") || strings.Contains(name, "?") {
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
	if !found || strings.ContainsAny(word, "/@[?") {
		return ""
	}
	switch {
	case slices.Contains(Types, word):
	case strings.HasPrefix(word, "vsock:"):
		p.fail(p.at+len("vsock"), "vsock::2:1234", "two colons follow the type")
	case word == "" || strings.Contains(word, ":"):
		p.fail(p.at, "[::1]:8080", "an IPv6 address stands in brackets, with a port after it")
	default:
		p.fail(p.at, "udp::53", "the type %q is none of %s", word, strings.Join(Types, ", "))
	}
	p.at += len(word) + 2
	return word
}

// value reads what is left up to the options, and finds the type where there is none
// yet.
func (p *parser) value(kind *string) string {
	v := p.text[p.at:p.end]
	if i := strings.IndexFunc(v, func(r rune) bool { return r < ' ' || r == 0x7f }); i >= 0 {
		p.fail(p.at+i, "8080", "there is a control character")
		return ""
	}
	file := strings.HasPrefix(v, "/") || strings.HasPrefix(v, "@") || strings.HasPrefix(v, "./") || strings.HasPrefix(v, "../") ||
		strings.Contains(v, "/") && !strings.Contains(v, ":")
	if *kind == "" {
		*kind = p.plain(file)
	}
	switch *kind {
	case "unix", "unixgram", "seqpacket":
		p.unix(*kind, v)
		return v
	case "vsock":
		return p.vsock(v)
	case "fd":
		if n, err := strconv.ParseUint(v, 10, 31); err != nil || v != strconv.FormatUint(n, 10) {
			p.fail(p.at, "fd::3", "a descriptor is a number from 0 on")
		}
		return v
	}
	switch {
	case file && (*kind == "tcp" || *kind == "udp"):
		p.fail(p.at, "unix::/run/app.sock", "%s has no paths", *kind)
	case file:
		p.unix(*kind, v)
		return v
	}
	return p.hostPort(v)
}

// plain is the type that goes without saying.
func (p *parser) plain(file bool) string {
	switch {
	case p.style == Seqpacket && !file:
		p.fail(p.at, "/run/app.sock", "there are no sequential packets over IP")
	case p.style == Seqpacket:
		return "seqpacket"
	case p.style == Datagram && file:
		return "unixgram"
	case p.style == Datagram:
		return "udp"
	case file:
		return "unix"
	}
	return "tcp"
}

// maxUnix is how long a unix socket's address may be on Linux, with the byte that
// ends a path or begins an abstract address: unix(7).
const maxUnix = 108

func (p *parser) unix(kind, v string) {
	switch {
	case v == "":
		p.fail(p.at, kind+"::/run/app.sock", "%s wants a path, or an abstract address that begins with @", kind)
	case v == "/" || v == "@":
		p.fail(p.at, v+"run/app.sock", "there is nothing after the %s", v)
	case v[0] != '@' && len(v)+1 > maxUnix, len(v) > maxUnix:
		p.fail(p.at, "/run/app.sock", "the address is of %d bytes, more than a unix socket's may have", len(v))
	case strings.HasSuffix(v, "/") && v[0] != '@':
		p.fail(p.at+len(v)-1, "/run/app.sock", "this is a folder's path")
	}
}

// vsock reads "[CID:]PORT".
func (p *parser) vsock(v string) string {
	cid, port, found := strings.Cut(v, ":")
	if !found {
		cid, port = "", v
	}
	const example = "vsock::2:1234"
	number := func(at int, what, text string) {
		if n, err := strconv.ParseUint(text, 10, 32); err != nil || n == math.MaxUint32 || text != strconv.FormatUint(n, 10) {
			p.fail(at, example, "%s is no number from 0 to %d", what, uint32(math.MaxUint32-1))
		}
	}
	if cid != "" {
		number(p.at, "the CID, the machine's address,", cid)
	}
	number(p.at+len(v)-len(port), "the port", port)
	return cid + ":" + port
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
		p.fail(p.at, "/run/app.sock", "this is no path, and no address with a port")
	case err != nil && strings.Count(v, ":") > 1 && v[0] != '[' && strings.HasPrefix(v, "vsock:"):
		p.fail(p.at+len("vsock"), "vsock::2:1234", "two colons follow the type")
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
