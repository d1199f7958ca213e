package flip

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/cloudflare/tableflip"
	"github.com/handoff-dev/handoff/handoff"
	"github.com/handoff-dev/handoff/handoff/internal/link"
)

// tableflip needs only the descriptor of what is added.
type (
	descriptor = syscall.Conn
	asListener struct {
		net.Listener
		descriptor
	}
	asPacketConn struct {
		net.PacketConn
		descriptor
	}
	asConn struct {
		net.Conn
		descriptor
	}
)

// words are how a tableflip server asks for a descriptor.
type words struct{ kind, network, address string }

// give adds all of set to what tableflip passes on.
//
// A tableflip server finds only what it asks for in the very words. So an IP socket
// goes under its bound address too, where nothing else has that name.
func give(fds *tableflip.Fds, set *handoff.Set, origins []link.Origin) error {
	given := make(map[words]bool)
	type spare struct {
		words
		file *os.File
	}
	var spares []spare
	for e := range set.All() {
		var o link.Origin
		if e.Index < len(origins) {
			o = origins[e.Index]
		}
		w := wordsOf(e, o)
		f, err := set.File(handoff.ByIndex(e.Index))
		if err != nil {
			return err
		}
		if err := add(fds, w, f); err != nil {
			return fmt.Errorf("flip: passing on %v: %w", e, err)
		}
		given[w] = true
		for _, other := range spellings(w, e.Addr) {
			spares = append(spares, spare{other, f})
		}
	}
	for _, s := range spares {
		if given[s.words] {
			continue
		}
		given[s.words] = true
		if err := add(fds, s.words, s.file); err != nil {
			return fmt.Errorf("flip: passing on %v: %w", s.words, err)
		}
	}
	return nil
}

func add(fds *tableflip.Fds, w words, f *os.File) error {
	switch w.kind {
	case kindListener:
		return fds.AddListener(w.network, w.address, asListener{descriptor: f})
	case kindPacket:
		return fds.AddPacketConn(w.network, w.address, asPacketConn{descriptor: f})
	case kindConn:
		return fds.AddConn(w.network, w.address, asConn{descriptor: f})
	}
	return fds.AddFile(w.address, f)
}

// wordsOf returns the words for a descriptor: those in its name, else those in which
// this service has asked for it. What it only keeps is a file.
func wordsOf(e handoff.Entry, o link.Origin) words {
	if kind, network, address, ok := splitName(e.Name); ok {
		return words{kind, network, address}
	}
	switch e.Kind {
	case handoff.KindTCPListener, handoff.KindUnixListener, handoff.KindSeqpacketListener:
		if o.Network != "" {
			return words{kindListener, o.Network, o.Address}
		}
	case handoff.KindUDP, handoff.KindUnixgram:
		if o.Network != "" {
			return words{kindPacket, o.Network, o.Address}
		}
	}
	return words{address: unescape(e.Name)}
}

// spellings returns other words for an IP listener or packet conn. A unix socket gets
// none, because tableflip removes the path of what nobody asks for.
func spellings(w words, bound net.Addr) []words {
	if w.kind != kindListener && w.kind != kindPacket {
		return nil
	}
	var ip net.IP
	var port int
	switch a := bound.(type) {
	case *net.TCPAddr:
		ip, port = a.IP, a.Port
	case *net.UDPAddr:
		ip, port = a.IP, a.Port
	default:
		return nil
	}
	base := strings.TrimRight(w.network, "46")
	all := []words{{w.kind, base, w.address}, {w.kind, base, bound.String()}}
	if ip.IsUnspecified() {
		all = append(all, words{w.kind, base, ":" + strconv.Itoa(port)})
	}
	return all
}
