package load

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"
)

// client sends a worker's requests over connections that it keeps as the shape
// says.
type client interface {
	// do sends body once, and never again, and reads the answer.
	do(ctx context.Context, body []byte) answer
	// close closes the connection, if one is open.
	close()
}

// answer is how a request ended.
type answer struct {
	kind   Kind
	err    error // the cause, where kind isn't OK
	pid    int   // who answered, by Target.Identity; 0 if nobody said
	paused time.Duration
	stage  Stage // how far it had come, where kind isn't OK
	kept   bool  // the connection had served a request before
}

func failed(k Kind, s Stage, err error) answer { return answer{kind: k, stage: s, err: err} }

// notConnected is the answer where there is no connection.
func notConnected(err error) answer {
	var handshake handshakeError
	if errors.As(err, &handshake) {
		return failed(connectKind(err), Handshaking, err)
	}
	return failed(connectKind(err), Connecting, err)
}

// newClient returns that of the target's protocol.
func newClient(cfg *Config, n *tally) client {
	switch cfg.Target.Proto {
	case HTTP1:
		return newHTTP1(cfg, n)
	case WebSocket:
		return newWebSocket(cfg, n)
	default:
		return newHTTP2(cfg, n)
	}
}

// pidHeader names the process that answered.
const pidHeader = "X-Pid"

// maxSurplus bounds what is read of a body that isn't the one expected.
const maxSurplus = 64 << 10

var (
	errSilent  = silentError{}
	errSurplus = errors.New("more bytes came than one answer has")
)

// silentError is a net.Error that TLS takes for passing.
type silentError struct{}

func (silentError) Error() string   { return "nothing to read yet" }
func (silentError) Timeout() bool   { return true }
func (silentError) Temporary() bool { return true }

// judge reads an answer's body into buf and compares it with what was sent.
func judge(cfg *Config, res *http.Response, sent []byte, buf *bytes.Buffer) answer {
	a := answer{stage: Answering, pid: cfg.ids.of(res.Header.Get(cfg.Target.Identity))}
	if accept := cfg.Target.Accept; accept != nil {
		_, err := io.Copy(io.Discard, res.Body)
		switch {
		case err != nil:
			a.kind, a.err = brokenKind(err, true), err
		case !accept(res.StatusCode):
			a.kind, a.err = Status, errors.New(res.Status)
		}
		return a
	}
	buf.Reset()
	_, err := buf.ReadFrom(io.LimitReader(res.Body, int64(len(sent)+maxSurplus)))
	got := buf.Bytes()
	switch {
	case res.StatusCode != http.StatusOK:
		a.kind, a.err = Status, errors.New(res.Status)
	case err != nil:
		a.kind, a.err = brokenKind(err, true), err
	case bytes.Equal(got, sent):
	case len(got) < len(sent) && bytes.HasPrefix(sent, got) && res.ContentLength < 0:
		// Only the connection's end told the body's: it came too early.
		a.kind, a.err = Truncated, io.ErrUnexpectedEOF
	default:
		a.kind, a.err = Mismatch, mismatch(sent, got)
	}
	return a
}

func mismatch(want, got []byte) error {
	const show = 64
	return errors.New("sent " + strconv.Quote(string(want[:min(len(want), show)])) +
		", got " + strconv.Quote(string(got[:min(len(got), show)])))
}
