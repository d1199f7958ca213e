package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
)

// Kind is how a request ended.
type Kind uint8

// The first three are no failures, the others are.
const (
	OK        Kind = iota
	Retryable      // HTTP/2: refused, or beyond GOAWAY's last stream: safe to send again
	Aborted        // the caller's context ended it: nobody knows
	Refused        // connect: connection refused
	Connect        // connect: anything else, the TLS handshake included
	Reset          // the connection was reset before any byte of an answer, or the write found it closed
	EOF            // the connection was closed without any byte of an answer
	Torn           // the connection was reset within the answer
	Truncated      // the connection was closed within the answer
	Timeout        // no whole answer in time
	Status         // an answer other than 200
	Mismatch       // an answer that isn't this request's: another body, or no HTTP
	kinds
)

var kindNames = [kinds]string{
	"ok", "retryable", "aborted", "refused", "connect", "reset", "eof",
	"torn", "truncated", "timeout", "status", "mismatch",
}

// FailureKinds returns the kinds that are failures, in the order of a request's
// life.
func FailureKinds() []Kind {
	return []Kind{Refused, Connect, Reset, EOF, Torn, Truncated, Timeout, Status, Mismatch}
}

// Failure reports whether k is one.
func (k Kind) Failure() bool { return k > Aborted }

func (k Kind) String() string {
	if k < kinds {
		return kindNames[k]
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}

// MarshalText gives the name.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText takes a name.
func (k *Kind) UnmarshalText(text []byte) error {
	for i, name := range kindNames {
		if name == string(text) {
			*k = Kind(i)
			return nil
		}
	}
	return fmt.Errorf("load: %q is no kind of outcome", text)
}

// Stage is how far a request had come when it failed.
type Stage uint8

// The stages, in the order of a request's life.
const (
	Connecting  Stage = iota
	Handshaking       // connected, and TLS or the WebSocket under negotiation
	Sending           // its first byte was given to the connection, its last was not
	Sent              // all of it was
	Answering         // some of the answer had come
	stages
)

var stageNames = [stages]string{"connecting", "handshaking", "sending", "sent", "answering"}

func (s Stage) String() string {
	if s < stages {
		return stageNames[s]
	}
	return fmt.Sprintf("Stage(%d)", uint8(s))
}

// MarshalText gives the name.
func (s Stage) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText takes a name.
func (s *Stage) UnmarshalText(text []byte) error {
	for i, name := range stageNames {
		if name == string(text) {
			*s = Stage(i)
			return nil
		}
	}
	return fmt.Errorf("load: %q is no stage of a request", text)
}

// Windows has numbers of its own for these, which package syscall names there
// only. No Unix uses them.
const (
	wsaeConnAborted = syscall.Errno(10053)
	wsaeConnReset   = syscall.Errno(10054)
	wsaeConnRefused = syscall.Errno(10061)
)

// connectKind sorts an error met before any byte of a request was written.
func connectKind(err error) Kind {
	if isAny(err, syscall.ECONNREFUSED, wsaeConnRefused) {
		return Refused
	}
	return Connect
}

// brokenKind sorts an error met after a request's first byte was written and
// before its answer was whole. begun: some of the answer had come.
func brokenKind(err error, begun bool) Kind {
	var netErr net.Error
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded),
		errors.As(err, &netErr) && netErr.Timeout():
		return Timeout
	case isAny(err, syscall.ECONNRESET, syscall.EPIPE, syscall.ECONNABORTED, wsaeConnReset, wsaeConnAborted):
		if begun {
			return Torn
		}
		return Reset
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		if begun {
			return Truncated
		}
		return EOF
	}
	// What came is no HTTP, or no TLS.
	return Mismatch
}

func isAny(err error, nos ...syscall.Errno) bool {
	for _, no := range nos {
		if errors.Is(err, no) {
			return true
		}
	}
	return false
}
