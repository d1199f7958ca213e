package spec

import (
	"errors"
	"strings"
	"testing"
)

func TestASpecificationIsReadWithItsNameTypeAndAddress(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Spec{
		"8080":                         {"", "tcp", ":8080"},
		":8080":                        {"", "tcp", ":8080"},
		"127.0.0.1:8080":               {"", "tcp", "127.0.0.1:8080"},
		"[::1]:8080":                   {"", "tcp", "[::1]:8080"},
		"[fe80::1%eth0]:80":            {"", "tcp", "[fe80::1%eth0]:80"},
		"localhost:0":                  {"", "tcp", "localhost:0"},
		"http=8080":                    {"http", "tcp", ":8080"},
		"web=https::443":               {"web", "https", ":443"},
		"http::/run/app.sock":          {"", "http", "/run/app.sock"},
		"udp::53":                      {"", "udp", ":53"},
		"udp:::53":                     {"", "udp", ":53"},
		"dns=udp::[::1]:53":            {"dns", "udp", "[::1]:53"},
		"/run/app.sock":                {"", "unix", "/run/app.sock"},
		"/run/a=b::c":                  {"", "unix", "/run/a=b::c"},
		"unix::/run/a=b":               {"", "unix", "/run/a=b"},
		"@app":                         {"", "unix", "@app"},
		"@a=b":                         {"", "unix", "@a=b"},
		"x=@app":                       {"x", "unix", "@app"},
		"log=unixgram::/run/log":       {"log", "unixgram", "/run/log"},
		"seqpacket::@x":                {"", "seqpacket", "@x"},
		"a name=8080":                  {"a name", "tcp", ":8080"},
		"a=/run/b=c":                   {"a", "unix", "/run/b=c"},
		"/" + strings.Repeat("a", 106): {"", "unix", "/" + strings.Repeat("a", 106)},
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
		"run/app.sock":                   {"run/app.sock", "no absolute path"},
		"udp::/run/x":                    {"/run/x", "udp has no paths"},
		"unix::8080":                     {"8080", "absolute path"},
		"seqpacket::":                    {"", "absolute path"},
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

func FuzzWhatIsReadIsReadAgainTheSame(f *testing.F) {
	for _, seed := range []string{"8080", "a=udp::[::1]:53", "/run/a", "x=@y", "::1:80", "a:b=80", "[", "*:1"} {
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
		again := s.Type + "::" + s.Value
		if s.Name != "" {
			again = s.Name + "=" + again
		}
		if s2, err := Parse(again); err != nil || s2 != s {
			t.Fatalf("%q: %+v, but %q: %+v, %v", text, s, again, s2, err)
		}
	})
}
