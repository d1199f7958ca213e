package spec

import (
	"errors"
	"strings"
	"testing"
)

func TestASpecificationIsReadWithItsNameTypeAndAddress(t *testing.T) {
	t.Parallel()
	none := Options{}
	for text, want := range map[string]Spec{
		"8080":                         {"", "tcp", ":8080", none},
		":8080":                        {"", "tcp", ":8080", none},
		"127.0.0.1:8080":               {"", "tcp", "127.0.0.1:8080", none},
		"[::1]:8080":                   {"", "tcp", "[::1]:8080", none},
		"[fe80::1%eth0]:80":            {"", "tcp", "[fe80::1%eth0]:80", none},
		"localhost:0":                  {"", "tcp", "localhost:0", none},
		"http=8080":                    {"http", "tcp", ":8080", none},
		"web=https::443":               {"web", "https", ":443", none},
		"http::/run/app.sock":          {"", "http", "/run/app.sock", none},
		"udp::53":                      {"", "udp", ":53", none},
		"udp:::53":                     {"", "udp", ":53", none},
		"dns=udp::[::1]:53":            {"dns", "udp", "[::1]:53", none},
		"/run/app.sock":                {"", "unix", "/run/app.sock", none},
		"/run/a=b::c":                  {"", "unix", "/run/a=b::c", none},
		"unix::/run/a=b":               {"", "unix", "/run/a=b", none},
		"@app":                         {"", "unix", "@app", none},
		"@a=b":                         {"", "unix", "@a=b", none},
		"x=@app":                       {"x", "unix", "@app", none},
		"log=unixgram::/run/log":       {"log", "unixgram", "/run/log", none},
		"seqpacket::@x":                {"", "seqpacket", "@x", none},
		"a name=8080":                  {"a name", "tcp", ":8080", none},
		"a=/run/b=c":                   {"a", "unix", "/run/b=c", none},
		"/" + strings.Repeat("a", 106): {"", "unix", "/" + strings.Repeat("a", 106), none},
		// What systemfd takes too.
		"http::3000":        {"", "http", ":3000", none},
		"https::3443":       {"", "https", ":3443", none},
		"tcp::0.0.0.0:3000": {"", "tcp", "0.0.0.0:3000", none},
		"udp::1567":         {"", "udp", ":1567", none},
		"unix::app.sock":    {"", "unix", "app.sock", none},
		"./app.sock":        {"", "unix", "./app.sock", none},
		"run/app.sock":      {"", "unix", "run/app.sock", none},
		// What systemd-socket-activate takes, written with two colons.
		"vsock::2:1234": {"", "vsock", "2:1234", none},
		"vsock::1234":   {"", "vsock", ":1234", none},
		"fd::3":         {"", "fd", "3", none},
		"web=fd::0":     {"web", "fd", "0", none},
		// Options.
		"/run/a?mode=0660&owner=www-data&group=4&backlog=4096": {"", "unix", "/run/a", Options{Mode: 0o660, Owner: "www-data", Group: "4", Backlog: 4096}},
		"a=8080?reuseport&freebind&defer-accept&keepalive":     {"a", "tcp", ":8080", Options{ReusePort: true, FreeBind: true, DeferAccept: 1, KeepAlive: true}},
		"https::[::]:1?v6only&defer-accept=30":                 {"", "https", "[::]:1", Options{V6Only: true, DeferAccept: 30}},
		"udp::53?reuseport":                                    {"", "udp", ":53", Options{ReusePort: true}},
		"8080?backlog=1":                                       {"", "tcp", ":8080", Options{Backlog: 1}},
		"8080?":                                                {"", "tcp", ":8080", none},
		"/run/a?b?mode=1":                                      {"", "unix", "/run/a?b", Options{Mode: 1}},
		"/run/a?b?":                                            {"", "unix", "/run/a?b", none},
	} {
		if got, err := Parse(text); err != nil || got != want {
			t.Errorf("%q: %+v, %v, want %+v", text, got, err, want)
		}
	}
}

func TestAnErrorNamesTheSpecificationThePlaceAndARightExample(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]struct {
		place  string // what the offset points at
		reason string
	}{
		"":                               {"", "missing"},
		"http=":                          {"", "missing"},
		"=8080":                          {"=8080", "no name"},
		"a:b=8080":                       {":b=8080", "':'"},
		`a\b=8080`:                       {`\b=8080`, `'\\'`},
		" a=8080":                        {" a=8080", "space"},
		"naïve=8080":                     {"ïve=8080", "ASCII"},
		strings.Repeat("n", 256) + "=80": {strings.Repeat("n", 256) + "=80", "255"},
		"ftp::21":                        {"ftp::21", `"ftp" is none of tcp, http,`},
		"localhost::80":                  {"localhost::80", "none of"},
		"::1:80":                         {"::1:80", "brackets"},
		"fe80:0::1":                      {"fe80:0::1", "brackets"},
		"1:2:3":                          {"1:2:3", "brackets"},
		"[::1]":                          {"[::1]", "port is missing"},
		"[127.0.0.1]:80":                 {"127.0.0.1]:80", "no IPv6"},
		"[]:80":                          {"]:80", "no IPv6"},
		"localhost":                      {"localhost", "port is missing"},
		"127.0.0.1":                      {"127.0.0.1", "port is missing"},
		"127.0.0.256:80":                 {"127.0.0.256:80", "no IPv4"},
		"*:80":                           {"*:80", "port alone"},
		"a_b c:80":                       {"a_b c:80", "no host's name"},
		"80x":                            {"80x", "no number"},
		"x=65536":                        {"65536", "no number"},
		"127.0.0.1:":                     {"", "no number"},
		"127.0.0.1:080":                  {"080", "no number"},
		"127.0.0.1:http":                 {"http", "no number"},
		"http://localhost:3000":          {"http://localhost:3000", "no path, and no address"},
		"udp::/run/x":                    {"/run/x", "udp has no paths"},
		"seqpacket::":                    {"", "wants a path"},
		"/run/":                          {"/", "a folder's path"},
		"vsock:2:1234":                   {":2:1234", "two colons"},
		"vsock::x:1":                     {"x:1", "CID"},
		"vsock::2:":                      {"", "the port is no number"},
		"vsock::4294967295":              {"4294967295", "the port is no number"},
		"fd::x":                          {"x", "a descriptor is a number"},
		"fd::-1":                         {"-1", "a descriptor is a number"},
		"fd::03":                         {"03", "a descriptor is a number"},
		"8080?mode=0660":                 {"mode=0660", "unix sockets with a path"},
		"@a?owner=root":                  {"owner=root", "unix sockets with a path"},
		"/a?mode=0888":                   {"0888", "octal"},
		"/a?mode=0":                      {"0", "octal"},
		"/a?mode=07777":                  {"07777", "octal"},
		"/a?mode":                        {"", "octal"},
		"/a?backlog=1&owner=":            {"", "wants a name"},
		"/a?group=a:b":                   {"a:b", "wants a name"},
		"/a?b":                           {"b", "question mark in it"},
		"8080?backlog=0":                 {"0", "from 1 to"},
		"8080?backlog=x":                 {"x", "from 1 to"},
		"8080?backlog=1&backlog=2":       {"backlog=2", "twice"},
		"udp::8080?backlog=1":            {"backlog=1", "connections come in"},
		"fd::3?backlog=1":                {"backlog=1", "connections come in"},
		"udp::8080?keepalive":            {"keepalive", "TCP"},
		"8080?reuseport=1":               {"=1", "no value"},
		"8080?frobnicate":                {"frobnicate", "none of the options mode=OCTAL,"},
		"8080?a?reuseport":               {":8080?a?reuseport"[1:], "port"},
		"127.0.0.1:1?v6only":             {"v6only", "IPv4"},
		"/a?freebind":                    {"freebind", "IP sockets"},
		"x=@":                            {"@", "nothing after"},
		"/":                              {"/", "nothing after"},
		"/a\nb":                          {"\nb", "control"},
		"/" + strings.Repeat("a", 107):   {"/" + strings.Repeat("a", 107), "108 bytes"},
	} {
		_, err := Parse(text)
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%q: the error is %v", text, err)
			continue
		}
		if e.Spec != text || e.At < 0 || e.At > len(text) || text[e.At:] != want.place || !strings.Contains(e.Reason, want.reason) {
			t.Errorf("%q: the error is %v, at %d, want it at %q with %q", text, err, e.At, want.place, want.reason)
		}
		if _, err := Parse(e.Example); err != nil {
			t.Errorf("%q: the example %q isn't right: %v", text, e.Example, err)
		}
	}
}

func TestTheNetworkIsThatOfPackageNet(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"80": "tcp", "http::80": "tcp", "https::@x": "unix", "/x": "unix", "udp::1": "udp", "unixgram::/x": "unixgram", "seqpacket::/x": "unixpacket",
	} {
		if s, err := Parse(text); err != nil || s.Network() != want {
			t.Errorf("%q: %q, %v, want %q", text, s.Network(), err, want)
		}
	}
}

func TestAnErrorShowsThePlaceByACaret(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"x=80x":          "socket: the port is no number from 0 to 65535\n  x=80x\n    ^\n  right is, for example, 127.0.0.1:8080",
		"/a\nb":          "socket: there is a control character\n  /a\\nb\n    ^\n  right is, for example, 8080",
		"8080?backlog=x": "socket: backlog wants a number from 1 to 1048576\n  8080?backlog=x\n               ^\n  right is, for example, 8080?backlog=4096",
		"/" + strings.Repeat("a", 100) + "?mode=9" + strings.Repeat("b", 100): "socket: the mode is an octal number from 0001 to 0777\n  ..." +
			strings.Repeat("a", 54) + "?mode=9" + strings.Repeat("b", 59) + "...\n  " + strings.Repeat(" ", 63) + "^\n  right is, for example, /run/app.sock?mode=0660",
	} {
		if _, err := Parse(text); err == nil || err.Error() != want {
			t.Errorf("%q:\n%v\nwant\n%s", text, err, want)
		}
	}
}

func TestASpecificationWithoutATypeHasThatOfTheStyle(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][3]string{ // "" is an error
		"80":         {"tcp", "udp", ""},
		"/a":         {"unix", "unixgram", "seqpacket"},
		"@a":         {"unix", "unixgram", "seqpacket"},
		"./a":        {"unix", "unixgram", "seqpacket"},
		"tcp::80":    {"tcp", "tcp", "tcp"},
		"udp::80":    {"udp", "udp", "udp"},
		"http::/a":   {"http", "http", "http"},
		"vsock::1:1": {"vsock", "vsock", "vsock"},
	} {
		for style, want := range want {
			if s, err := Style(style).Parse(text); s.Type != want || err == nil == (want == "") {
				t.Errorf("%q in style %d: %q, %v, want %q", text, style, s.Type, err, want)
			}
		}
	}
}

func FuzzWhatIsReadIsReadAgainTheSame(f *testing.F) {
	for _, seed := range []string{"8080", "a=udp::[::1]:53", "/run/a", "x=@y", "::1:80", "a:b=80", "[", "*:1",
		"/run/a?b?mode=0660&owner=a&group=1", "http::80?backlog=2&reuseport&freebind&defer-accept=3&keepalive", "[::]:80?v6only", "vsock::1:2", "fd::3", "./x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Parse(text)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.At < 0 || e.At > len(text) || e.Example == "" {
				t.Fatalf("%q: %#v", text, err)
			}
			return
		}
		again := s.String()
		if s2, err := Parse(again); err != nil || s2 != s {
			t.Fatalf("%q: %+v, but %q: %+v, %v", text, s, again, s2, err)
		}
	})
}
