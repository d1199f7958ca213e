package spec

import (
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// Words are the options, with what they want after an equals sign.
var Words = []string{"mode=OCTAL", "owner=USER", "group=GROUP", "backlog=N", "reuseport", "freebind", "defer-accept[=SECONDS]", "keepalive", "v6only"}

// options reads what follows the question mark, with s being all before it.
func (p *parser) options(s *Spec) {
	rest := p.text[p.end+1:]
	if rest == "" {
		return
	}
	at := p.end + 1
	seen := map[string]bool{}
	for word := range strings.SplitSeq(rest, "&") {
		o := option{p: p, s: s, at: at}
		o.key, o.value, o.has = strings.Cut(word, "=")
		if seen[o.key] {
			p.fail(at, o.example(), "the option %s is there twice", o.key)
		}
		seen[o.key] = true
		o.read()
		at += len(word) + 1
	}
}

// option is one of them, at its place.
type option struct {
	p          *parser
	s          *Spec
	at         int
	key, value string
	has        bool // an equals sign
}

// optionOf is which sockets an option is for, and a right example.
var optionOf = map[string]struct {
	sockets string
	is      func(Spec) bool
	example string
}{
	"mode":         {"unix sockets with a path", Spec.Path, "/run/app.sock?mode=0660"},
	"owner":        {"unix sockets with a path", Spec.Path, "/run/app.sock?owner=www-data"},
	"group":        {"unix sockets with a path", Spec.Path, "/run/app.sock?group=www-data"},
	"backlog":      {"sockets that connections come in by", func(s Spec) bool { return !s.Datagram() && s.Type != "fd" }, "8080?backlog=4096"},
	"reuseport":    {"IP sockets", isIP, "8080?reuseport"},
	"freebind":     {"IP sockets", isIP, "192.0.2.1:8080?freebind"},
	"defer-accept": {"TCP sockets", isTCP, "8080?defer-accept=5"},
	"keepalive":    {"TCP sockets", isTCP, "8080?keepalive"},
	"v6only":       {"IP sockets", isIP, "[::]:8080?v6only"},
}

func isTCP(s Spec) bool { return s.Network() == "tcp" }
func isIP(s Spec) bool  { return isTCP(s) || s.Network() == "udp" }

func (o option) example() string {
	if known, ok := optionOf[o.key]; ok {
		return known.example
	}
	return "8080?backlog=4096"
}

func (o option) fail(at int, reason string, args ...any) { o.p.fail(at, o.example(), reason, args...) }

func (o option) read() {
	known, ok := optionOf[o.key]
	switch {
	case !ok && o.s.Path():
		o.p.fail(o.at, "/run/a?b?mode=0660", "%q is none of the options %s; a path that has a question mark in it gets another at its end", o.key, strings.Join(Words, ", "))
		return
	case !ok:
		o.fail(o.at, "%q is none of the options %s", o.key, strings.Join(Words, ", "))
		return
	case !known.is(*o.s):
		o.fail(o.at, "the option %s is for %s", o.key, known.sockets)
		return
	}
	switch to := &o.s.Options; o.key {
	case "mode":
		to.Mode = o.mode()
	case "owner":
		to.Owner = o.account()
	case "group":
		to.Group = o.account()
	case "backlog":
		to.Backlog = o.number(1 << 20)
	case "reuseport":
		to.ReusePort = o.flag()
	case "freebind":
		to.FreeBind = o.flag()
	case "keepalive":
		to.KeepAlive = o.flag()
	case "defer-accept":
		to.DeferAccept = 1
		if o.has {
			to.DeferAccept = o.number(3600)
		}
	case "v6only":
		to.V6Only = o.flag()
		if o.s.IPv4() {
			o.fail(o.at, "the address is one of IPv4")
		}
	}
}

func isIPv4(host string) bool {
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().Is4()
}

func (o option) flag() bool {
	if o.has {
		o.fail(o.at+len(o.key), "the option %s has no value: it is there or not", o.key)
	}
	return true
}

func (o option) valueAt() int {
	if !o.has {
		return o.at + len(o.key)
	}
	return o.at + len(o.key) + 1
}

func (o option) number(most uint64) int {
	n, err := strconv.ParseUint(o.value, 10, 31)
	if err != nil || n == 0 || n > most || o.value[0] == '0' {
		o.fail(o.valueAt(), "%s wants a number from 1 to %d", o.key, most)
	}
	return int(n)
}

func (o option) mode() os.FileMode {
	n, err := strconv.ParseUint(o.value, 8, 12)
	if err != nil || n == 0 || n > 0o777 || len(o.value) > 4 {
		o.fail(o.valueAt(), "the mode is an octal number from 0001 to 0777")
	}
	return os.FileMode(n)
}

// account is the name or the number of a user or a group; whether there is one shows
// when the socket is opened.
func (o option) account() string {
	if o.value == "" || strings.ContainsFunc(o.value, func(r rune) bool { return r <= ' ' || r > '~' || r == ':' || r == '/' }) {
		o.fail(o.valueAt(), "%s wants a name or a number", o.key)
	}
	return o.value
}
