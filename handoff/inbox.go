package handoff

import (
	"net"
	"os"

	"github.com/handoff-dev/handoff/handoff/internal/link"
)

// inbox is where datagrams arrive that a younger generation has read and that belong
// to this one. Its queue is bounded, and the kernel's before it is too: what finds no
// room is dropped, as at any datagram socket.
type inbox struct {
	receiving *net.UnixConn
	sending   *os.File
	arrived   func() // called after each that was put into queue
	queue     chan parcel
}

// parcel is a datagram with who sent it.
type parcel struct {
	data []byte
	from net.Addr
}

// inboxRoom is how many datagrams may wait to be read.
const inboxRoom = 256

func newInbox(arrived func()) (*inbox, error) {
	receiving, sending, err := link.Datagrams()
	if err != nil {
		return nil, err
	}
	in := &inbox{receiving: receiving, sending: sending, arrived: arrived, queue: make(chan parcel, inboxRoom)}
	go in.collect()
	return in, nil
}

// collect fills the queue until close.
func (in *inbox) collect() {
	frame := make([]byte, maxFrame)
	for {
		n, err := in.receiving.Read(frame)
		if err != nil {
			return // the sending end is open here, so it is close
		}
		d, ok := openFrame(frame[:n])
		if !ok {
			continue
		}
		select {
		case in.queue <- d:
			in.arrived()
		default:
		}
	}
}

// next returns the next datagram, and whether there are more; false if there is none.
func (in *inbox) next() (d parcel, more, ok bool) {
	select {
	case d = <-in.queue:
		return d, len(in.queue) > 0, true
	default:
		return parcel{}, false, false
	}
}

func (in *inbox) close() {
	in.receiving.Close()
	in.sending.Close()
}
