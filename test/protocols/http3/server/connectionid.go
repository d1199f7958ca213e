package main

import (
	"crypto/rand"
	"encoding/binary"
	"net"

	"github.com/quic-go/quic-go"
)

// connectionIDs issues connection ids that name the generation: four bytes of its
// number, eight of chance.
type connectionIDs uint32

const connectionIDLen = 12

func (generation connectionIDs) ConnectionIDLen() int { return connectionIDLen }

func (generation connectionIDs) GenerateConnectionID() (quic.ConnectionID, error) {
	id := make([]byte, connectionIDLen)
	binary.BigEndian.PutUint32(id, uint32(generation))
	if _, err := rand.Read(id[4:]); err != nil {
		return quic.ConnectionID{}, err
	}
	return quic.ConnectionIDFromBytes(id), nil
}

// owner returns the generation that issued the connection id to which a datagram is
// addressed (RFC 8999, section 5). A client's first datagrams have one of its own
// making, and are for whoever reads them: that it begins with the number of a
// generation that drains is a matter of one in four thousand millions.
func owner(datagram []byte, _ net.Addr) int {
	if len(datagram) == 0 {
		return 0
	}
	id := datagram[1:]
	if datagram[0]&0x80 != 0 { // long header: version, length of the id
		if len(id) < 5 || id[4] != connectionIDLen {
			return 0
		}
		id = id[5:]
	}
	if len(id) < connectionIDLen {
		return 0
	}
	return int(binary.BigEndian.Uint32(id))
}
