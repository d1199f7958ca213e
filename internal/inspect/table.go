// Package inspect tells from proc(5) what sockets a process holds, and with whom it
// shares them.
package inspect

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// A Socket is one line of /proc/net.
type Socket struct {
	Kind    string // in the words of package handoff, such as "TCP listener"
	Address string // where it is bound, "" if it is not
	Peer    string // of a connected IP socket
	State   string // "listening", "connected", "bound", or what TCP calls it
	Waiting int    // of a TCP listener: connections that nobody has accepted yet
}

// Listens tells a socket that clients come by: one that listens, or that receives
// datagrams at an address and from anybody.
func (s Socket) Listens() bool { return s.State == "listening" || s.State == "bound" }

// tcpStates are those of include/net/tcp_states.h, in the words of ss(8).
var tcpStates = map[string]string{
	"01": "connected", "02": "syn-sent", "03": "syn-recv", "04": "fin-wait-1", "05": "fin-wait-2", "06": "time-wait",
	"07": "unconnected", "08": "close-wait", "09": "last-ack", "0A": "listening", "0B": "closing",
}

// readIP adds the sockets of /proc/net/tcp, tcp6, udp or udp6 by their inode.
func readIP(all map[string]Socket, text string, udp bool) {
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 10 || f[9] == "0" || f[0] == "sl" {
			continue
		}
		local, lok := hexAddress(f[1])
		peer, pok := hexAddress(f[2])
		if !lok || !pok {
			continue
		}
		s := Socket{Address: local.String(), State: tcpStates[f[3]]}
		if peer.Port() != 0 {
			s.Peer = peer.String()
		}
		switch {
		case udp:
			s.Kind = "UDP socket"
			if s.State != "connected" {
				s.State = "bound"
			}
		case s.State == "listening":
			s.Kind = "TCP listener"
			_, waiting, _ := strings.Cut(f[4], ":")
			n, _ := strconv.ParseInt(waiting, 16, 32)
			s.Waiting = int(n)
		default:
			s.Kind = "connected TCP socket"
			if s.State == "unconnected" {
				s.Kind = "unconnected TCP socket"
			}
		}
		all[f[9]] = s
	}
}

// hexAddress reads "0100007F:1F90": words of 32 bits in the machine's order.
func hexAddress(text string) (netip.AddrPort, bool) {
	addr, port, _ := strings.Cut(text, ":")
	words, err := hex.DecodeString(addr)
	n, perr := strconv.ParseUint(port, 16, 16)
	if err != nil || perr != nil || len(words) != 4 && len(words) != 16 {
		return netip.AddrPort{}, false
	}
	for i := 0; i < len(words); i += 4 {
		binary.NativeEndian.PutUint32(words[i:], binary.BigEndian.Uint32(words[i:]))
	}
	ip, _ := netip.AddrFromSlice(words)
	return netip.AddrPortFrom(ip.Unmap(), uint16(n)), true
}

var unixKinds = map[string][2]string{ // a listener, else
	"0001": {"unix stream listener", "unix stream socket"},
	"0002": {"unix datagram socket", "unix datagram socket"},
	"0005": {"unix seqpacket listener", "unix seqpacket socket"},
}

// readUnix adds the sockets of /proc/net/unix by their inode.
func readUnix(all map[string]Socket, text string) {
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		f := strings.Fields(line)
		if len(f) < 7 || f[0] == "Num" {
			continue
		}
		kinds, ok := unixKinds[f[4]]
		if !ok {
			kinds = [2]string{"unix listener of type " + f[4], "unix socket of type " + f[4]}
		}
		s := Socket{}
		if len(f) > 7 { // the path may have spaces in it
			s.Address = line[strings.Index(line, " "+f[6]+" ")+len(f[6])+2:]
		}
		const accepts = 1 << 16 // __SO_ACCEPTCON
		flags, _ := strconv.ParseUint(f[3], 16, 64)
		switch {
		case flags&accepts != 0:
			s.Kind, s.State = kinds[0], "listening"
		case f[5] == "03" && f[4] != "0002":
			s.Kind, s.State = "connected "+kinds[1], "connected"
		case f[5] == "03":
			s.Kind, s.State = kinds[1], "connected"
		case s.Address != "":
			s.Kind, s.State = kinds[1], "bound"
		default:
			s.Kind, s.State = kinds[1], "unconnected"
		}
		all[f[6]] = s
	}
}

// flagsOf are the words for the flags of /proc/PID/fdinfo/FD that a server's owner may
// look for.
func flagsOf(fdinfo string) (flags []string) {
	for line := range strings.Lines(fdinfo) {
		text, ok := strings.CutPrefix(line, "flags:")
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(strings.TrimSpace(text), 8, 64)
		if err != nil {
			return []string{fmt.Sprintf("flags %s", strings.TrimSpace(text))}
		}
		if n&nonblock != 0 {
			flags = append(flags, "nonblocking")
		}
		if n&cloexec != 0 {
			flags = append(flags, "close-on-exec")
		}
	}
	return flags
}
