package load

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// speaker is the server's side of a WebSocket, as bare as the client's.
type speaker struct {
	net.Conn
	in *bufio.Reader
}

// upgraded answers a WebSocket's beginning.
func upgraded(c net.Conn) (*speaker, bool) {
	s := &speaker{c, bufio.NewReader(c)}
	req, err := http.ReadRequest(s.in)
	if err != nil {
		return nil, false
	}
	sum := sha1.Sum([]byte(req.Header.Get("Sec-WebSocket-Key") + acceptGUID))
	_, err = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX-Pid: 42\r\nSec-WebSocket-Accept: "+
		base64.StdEncoding.EncodeToString(sum[:])+"\r\n\r\n")
	return s, err == nil
}

// next reads a client's frame.
func (s *speaker) next() (op byte, payload []byte, ok bool) {
	var head [2]byte
	if _, err := io.ReadFull(s.in, head[:]); err != nil || head[1]&0x80 == 0 {
		return 0, nil, false
	}
	size := int(head[1] & 0x7f)
	if size == 126 {
		var more [2]byte
		io.ReadFull(s.in, more[:])
		size = int(binary.BigEndian.Uint16(more[:]))
	}
	buf := make([]byte, 4+size)
	if _, err := io.ReadFull(s.in, buf); err != nil {
		return 0, nil, false
	}
	for i := range size {
		buf[4+i] ^= buf[i&3]
	}
	return head[0] & 0x0f, buf[4:], true
}

// frame writes one of the server's. final: no other of its message follows.
func (s *speaker) frame(op byte, final bool, payload []byte) {
	if final {
		op |= 0x80
	}
	head := []byte{op, byte(len(payload))}
	if len(payload) > 125 {
		head = binary.BigEndian.AppendUint16([]byte{op, 126}, uint16(len(payload)))
	}
	s.Write(append(head, payload...))
}

// says makes a server of what is done for each message.
func webSocketServer(each func(s *speaker, n int, payload []byte)) func(net.Conn) {
	return func(c net.Conn) {
		s, ok := upgraded(c)
		for n := 1; ok; n++ {
			var op byte
			var payload []byte
			if op, payload, ok = s.next(); ok && op == opText {
				each(s, n, payload)
			} else if op == opClose {
				return
			}
		}
	}
}

func closeCode(code uint16) []byte { return binary.BigEndian.AppendUint16(nil, code) }

func TestWebSocketMessagesAreEchoedWholeOrInPiecesAmongPings(t *testing.T) {
	t.Parallel()
	pongs := make(chan string, 1)
	addr := fake(t, func(c net.Conn) {
		s, ok := upgraded(c)
		for ok {
			var op byte
			var payload []byte
			switch op, payload, ok = s.next(); op {
			case opPong:
				select {
				case pongs <- string(payload):
				default:
				}
			case opText:
				s.frame(opPing, true, []byte("there?"))
				s.frame(opText, false, payload[:9])
				s.frame(opPing, true, []byte("still there?"))
				s.frame(0, true, payload[9:])
			}
		}
	})
	for _, peek := range []bool{false, peekSupported} {
		res := runUntil(t, Config{Target: Target{Addr: addr, Proto: WebSocket}, Workers: 2, Peek: peek},
			func(c Counters) bool { return c.Requests >= 50 && c.Connections == 2 })
		if res.OK != res.Requests || res.Connections != 2 || len(res.PIDs) != 1 || res.PIDs[0].PID != 42 {
			t.Errorf("%+v by %+v: %v", res.Counters, res.PIDs, res.Errors)
		}
	}
	if got := <-pongs; got != "there?" {
		t.Errorf("the pong has %q", got)
	}
}

func TestAWebSocketClosedWhileIdleIsAReconnectAndOneWithAMessageIsALoss(t *testing.T) {
	t.Parallel()
	if peekSupported {
		addr := fake(t, webSocketServer(func(s *speaker, n int, payload []byte) {
			s.frame(opText, true, payload)
			s.frame(opClose, true, closeCode(1012))
		}))
		res := runUntil(t, Config{Target: Target{Addr: addr, Proto: WebSocket}, Shape: Think(4 * time.Millisecond), Peek: true, Workers: 2},
			func(c Counters) bool { return c.Reconnects > 10 })
		if res.Failed > 0 || res.Retryable > res.Requests/5 { // those that the close has crossed
			t.Errorf("%+v: %v", res.Counters, res.Errors)
		}
	}
	addr := fake(t, webSocketServer(func(s *speaker, n int, payload []byte) {
		if n == 2 {
			s.frame(opClose, true, closeCode(1011))
			return
		}
		s.frame(opText, true, payload)
	}))
	polite := fake(t, webSocketServer(func(s *speaker, _ int, _ []byte) { s.frame(opClose, true, closeCode(1012)) }))
	res := runUntil(t, Config{Target: Target{Addr: polite, Proto: WebSocket}}, func(c Counters) bool { return c.Retryable > 5 })
	if res.Retryable != res.Requests || res.Reconnects != res.Requests {
		t.Errorf("crossed by a polite close: %+v: %v", res.Counters, res.Errors)
	}
	res = runUntil(t, Config{Target: Target{Addr: addr, Proto: WebSocket}}, func(c Counters) bool { return c.Failed > 5 })
	f := res.Errors[0]
	if res.Failures[EOF] != res.Failed || f.Stage != Sent || !f.Kept || !strings.Contains(f.Error, "1011") {
		t.Errorf("%+v, the first %+v", res.Counters, f)
	}
}

func TestWhatIsNoWebSocketIsToldApart(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		server func(net.Conn)
		kind   Kind
		stage  Stage
	}{
		{"another echo", webSocketServer(func(s *speaker, _ int, _ []byte) { s.frame(opText, true, []byte("no")) }), Mismatch, Answering},
		{"half a frame", webSocketServer(func(s *speaker, _ int, p []byte) { s.Write([]byte{0x81, 9, 'n'}); s.Close() }), Truncated, Answering},
		{"plain HTTP", once(func(c net.Conn, _ []byte) { io.WriteString(c, reply(nil, "")) }), Status, Handshaking},
		{"a wrong accept", once(func(c net.Conn, _ []byte) {
			io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: no\r\n\r\n")
		}), Mismatch, Handshaking},
		{"an early end", once(func(net.Conn, []byte) {}), EOF, Handshaking},
	} {
		res := runUntil(t, Config{Target: Target{Addr: fake(t, test.server), Proto: WebSocket}},
			func(c Counters) bool { return c.Failed > 3 })
		if f := res.Errors[0]; f.Kind != test.kind || f.Stage != test.stage || res.Failures[test.kind] != res.Requests {
			t.Errorf("%s: %+v, the first %+v", test.name, res.Counters, f)
		}
	}
}
