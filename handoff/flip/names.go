package flip

import (
	"fmt"
	"net/url"
	"strings"
)

// The kinds of tableflip's descriptors. Files have no kind in their names here.
const (
	kindListener = "listener"
	kindPacket   = "packet"
	kindConn     = "conn"
)

// ConnName returns the name under which [handoff.Upgrader.Inherited] has the
// connection that a tableflip predecessor has added as AddConn(network, address, …),
// and under which [handoff.Upgrader.Keep] has to be given one so that a tableflip
// successor finds it by Conn(network, address). It looks like "conn tcp 127.0.0.1%3A80".
func ConnName(network, address string) string { return joinName(kindConn, network, address) }

// FileName is [ConnName] for AddFile(name, …) and File(name). Most names are
// themselves; a space, "%", ":", "\" and what is no printable ASCII become %XX.
func FileName(name string) string { return escape(name) }

// joinName makes a name for LISTEN_FDNAMES, which allows printable ASCII without colon and
// backslash. A space separates, so it is in no file's name.
func joinName(kind, network, address string) string {
	return kind + " " + escape(network) + " " + escape(address)
}

// splitName is the reverse of joinName.
func splitName(name string) (kind, network, address string, ok bool) {
	parts := strings.Split(name, " ")
	if len(parts) != 3 {
		return "", "", "", false
	}
	switch parts[0] {
	case kindListener, kindPacket, kindConn:
		return parts[0], unescape(parts[1]), unescape(parts[2]), true
	}
	return "", "", "", false
}

func escape(s string) string {
	var out strings.Builder
	for _, c := range []byte(s) {
		if c <= ' ' || c > '~' || c == '%' || c == ':' || c == '\\' {
			fmt.Fprintf(&out, "%%%02X", c)
			continue
		}
		out.WriteByte(c)
	}
	return out.String()
}

func unescape(s string) string {
	if out, err := url.PathUnescape(s); err == nil {
		return out
	}
	return s // not made by escape
}
