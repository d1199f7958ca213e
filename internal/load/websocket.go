package load

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// webSocket sends messages over a WebSocket (RFC 6455), one at a time, each of
// which is to be echoed. What the server adds before or after it is its own
// affair.
type webSocket struct {
	cfg *Config
	n   *tally

	conn *link
	end  ending
	in   *bufio.Reader
	pid  int  // who took the connection
	used bool // a message was echoed on conn
	out  []byte
	got  bytes.Buffer
}

func newWebSocket(cfg *Config, n *tally) *webSocket {
	return &webSocket{cfg: cfg, n: n, in: bufio.NewReader(nil)}
}

func (c *webSocket) close() {
	if c.conn != nil {
		c.conn.SetDeadline(time.Now().Add(time.Second))
		c.send(opClose, []byte{1000 >> 8, 1000 & 0xff})
		c.conn.Close()
		c.conn, c.used = nil, false
	}
}

func (c *webSocket) do(ctx context.Context, message []byte) answer {
	if c.conn != nil && c.cfg.Peek && c.ended() {
		c.close()
	}
	var late time.Duration
	if c.conn == nil {
		l, err := dial(ctx, c.cfg)
		if err != nil {
			return notConnected(err)
		}
		c.n.connections.Add(1)
		c.conn, late = l, l.paused
		c.end = ending{Reader: l, left: noLimit}
		c.in.Reset(&c.end)
		c.conn.SetDeadline(time.Now().Add(c.cfg.Timeout))
		if a := c.handshake(); a.kind != OK {
			a.paused = late
			c.conn.Close()
			c.conn = nil
			return a
		}
	}
	c.conn.SetDeadline(time.Now().Add(c.cfg.Timeout))
	a := c.exchange(message)
	a.pid, a.paused, a.kept = c.pid, late, c.used
	if c.used = true; a.kind != OK || c.cfg.Shape.Close {
		c.close()
	}
	return a
}

// acceptGUID is RFC 6455's (1.3).
const acceptGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

func (c *webSocket) handshake() answer {
	nonce := make([]byte, 16)
	rand.Read(nonce)
	key := base64.StdEncoding.EncodeToString(nonce)
	t := &c.cfg.Target
	var head bytes.Buffer
	fmt.Fprintf(&head, "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: handoff-load\r\nUpgrade: websocket\r\n"+
		"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n", t.Path, t.host(), key)
	t.Header.Write(&head)
	head.WriteString("\r\n")
	if _, err := c.conn.Write(head.Bytes()); err != nil {
		return failed(brokenKind(err, false), Handshaking, err)
	}
	if _, err := c.in.Peek(1); err != nil {
		return failed(brokenKind(err, false), Handshaking, err)
	}
	c.end.limit(maxHeader)
	res, err := http.ReadResponse(c.in, nil)
	c.end.limit(noLimit)
	if err != nil {
		if c.end.err != nil {
			err = c.end.err
		}
		return failed(brokenKind(err, true), Handshaking, err)
	}
	c.pid = c.cfg.ids.of(res.Header.Get(t.Identity))
	if res.StatusCode != http.StatusSwitchingProtocols {
		return answer{kind: Status, stage: Handshaking, pid: c.pid, err: fmt.Errorf("%s in answer to a WebSocket's beginning", res.Status)}
	}
	sum := sha1.Sum([]byte(key + acceptGUID))
	if got, want := res.Header.Get("Sec-WebSocket-Accept"), base64.StdEncoding.EncodeToString(sum[:]); got != want {
		return failed(Mismatch, Handshaking, fmt.Errorf("Sec-WebSocket-Accept is %q, want %q", got, want))
	}
	return answer{}
}

// ended says whether the server has ended the connection since the last
// message, and counts how. It answers pings, however many, for Config.Timeout at most.
func (c *webSocket) ended() bool {
	c.conn.SetDeadline(time.Now().Add(c.cfg.Timeout))
	for {
		c.conn.peek.now = true
		first, err := c.in.Peek(1)
		c.conn.peek.now = false
		switch {
		case err == error(errSilent):
			return false
		case err != nil:
			c.n.closedIdle.Add(1)
			return true
		case first[0]&0x0f < opClose:
			return false // a message that nobody asked for: it will be taken for the echo, and found out
		}
		if op, err := c.receive(); err != nil || op == opClose {
			c.n.reconnects.Add(1)
			return true
		}
	}
}

func (c *webSocket) exchange(message []byte) answer {
	if err := c.send(opText, message); err != nil {
		return failed(brokenKind(err, false), Sending, err)
	}
	for {
		if _, err := c.in.Peek(1); err != nil {
			return failed(brokenKind(err, false), Sent, err)
		}
		op, err := c.receive()
		var closed closeError
		switch {
		case errors.As(err, &closed) && closed.politely():
			c.n.reconnects.Add(1)
			return failed(Retryable, Sent, closed)
		case errors.As(err, &closed):
			return failed(EOF, Sent, closed)
		case err != nil:
			if c.end.err != nil {
				err = c.end.err
			}
			return failed(brokenKind(err, true), Answering, err)
		case op == opPing || op == opPong:
			continue
		case !bytes.Contains(c.got.Bytes(), message):
			return failed(Mismatch, Answering, mismatch(message, c.got.Bytes()))
		}
		return answer{}
	}
}

// The opcodes (5.2).
const (
	opText  = 1
	opClose = 8
	opPing  = 9
	opPong  = 10
)

// closeError is the server's Close.
type closeError struct{ code int }

func (e closeError) Error() string {
	return fmt.Sprintf("the server closed the WebSocket with code %d before it had echoed the message", e.code)
}

// politely says whether the server asks to connect again. It can't say which
// messages it has worked on: one that crosses its Close is sent again by a
// client that cares, and a server that cares drops it.
func (e closeError) politely() bool {
	return e.code == 1001 || e.code == 1012 || e.code == 1013 // going away, service restart, try again later
}

// send sends a frame, masked as a client's have to be.
func (c *webSocket) send(op byte, payload []byte) error {
	var mask [4]byte
	rand.Read(mask[:])
	c.out = append(c.out[:0], 0x80|op)
	switch n := len(payload); {
	case n < 126:
		c.out = append(c.out, 0x80|byte(n))
	case n <= 0xffff:
		c.out = binary.BigEndian.AppendUint16(append(c.out, 0x80|126), uint16(n))
	default:
		c.out = binary.BigEndian.AppendUint64(append(c.out, 0x80|127), uint64(n))
	}
	c.out = append(c.out, mask[:]...)
	for i, b := range payload {
		c.out = append(c.out, b^mask[i&3])
	}
	_, err := c.conn.Write(c.out)
	return err
}

// receive reads a control frame, or the frames of a whole message into c.got,
// among which control frames may come. It answers pings. Close is an error of
// type closeError.
func (c *webSocket) receive() (op byte, err error) {
	c.got.Reset()
	for first := true; ; {
		var head [2]byte
		if _, err := io.ReadFull(c.in, head[:]); err != nil {
			return 0, err
		}
		size := uint64(head[1] & 0x7f)
		switch {
		case head[1]&0x80 != 0 || head[0]&0x70 != 0:
			return 0, errors.New("a WebSocket frame that no server may send")
		case size == 126:
			var more [2]byte
			_, err = io.ReadFull(c.in, more[:])
			size = uint64(binary.BigEndian.Uint16(more[:]))
		case size == 127:
			var more [8]byte
			_, err = io.ReadFull(c.in, more[:])
			size = binary.BigEndian.Uint64(more[:])
		}
		if err != nil {
			return 0, err
		}
		if limit := uint64(c.cfg.BodySize + maxSurplus); size > limit || uint64(c.got.Len())+size > limit {
			return 0, errSurplus
		}
		if op := head[0] & 0x0f; op >= opClose {
			if err := c.control(op, size); err != nil || first {
				return op, err
			}
			continue
		}
		if _, err := io.CopyN(&c.got, c.in, int64(size)); err != nil {
			return 0, err
		}
		if first = false; head[0]&0x80 != 0 {
			return opText, nil
		}
	}
}

func (c *webSocket) control(op byte, size uint64) error {
	payload := make([]byte, min(size, 125))
	if _, err := io.ReadFull(c.in, payload); err != nil {
		return err
	}
	switch {
	case op == opClose && len(payload) >= 2:
		return closeError{int(binary.BigEndian.Uint16(payload))}
	case op == opClose:
		return closeError{1005} // "no status" (7.1.5)
	case op == opPing:
		return c.send(opPong, payload)
	}
	return nil
}
