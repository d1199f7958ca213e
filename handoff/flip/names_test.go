package flip

import "testing"

func TestEveryNameComesBackAsItWas(t *testing.T) {
	for _, address := range []string{"", "127.0.0.1:80", "[::1%eth0]:80", "/run/a b", `C:\x`, "@abstract", "ü", "\x00", "a%20b"} {
		for _, kind := range []string{kindListener, kindPacket, kindConn} {
			name := joinName(kind, "tcp", address)
			for _, c := range []byte(name) {
				if c < ' ' || c > '~' || c == ':' || c == '\\' {
					t.Errorf("%q: %q is not allowed in a name", name, c)
				}
			}
			if k, n, a, ok := splitName(name); !ok || k != kind || n != "tcp" || a != address {
				t.Errorf("%q is read as %q, %q, %q, %v", name, k, n, a, ok)
			}
		}
		if got := unescape(FileName(address)); got != address {
			t.Errorf("%q became %q", address, got)
		}
		if _, _, _, ok := splitName(FileName("conn tcp " + address)); ok {
			t.Errorf("the file %q is taken for a connection", "conn tcp "+address)
		}
	}
}
