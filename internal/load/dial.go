package load

import (
	"context"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net"
	"time"
)

// link is a new connection as [dial] gives it.
type link struct {
	net.Conn           // plain, or TLS with the handshake done
	peek     *peekConn // what lies under it, where Config.Peek asks for it
	paused   time.Duration
	release  func() bool // the caller's context no longer closes it
}

// dial connects. The connection is closed by the caller, or when ctx ends,
// which is what ends a worker's blocked reads and writes.
func dial(ctx context.Context, cfg *Config) (*link, error) {
	connect := cfg.Target.Dial
	if connect == nil {
		connect = new(net.Dialer).DialContext
	}
	within, cancel := context.WithTimeout(ctx, cfg.Timeout)
	c, err := connect(within, cfg.Target.Network, cfg.Target.Addr)
	cancel()
	if err != nil {
		return nil, err
	}
	l := &link{Conn: c, release: context.AfterFunc(ctx, func() { c.Close() })}
	if err := l.prepare(ctx, cfg); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// Close closes the connection.
func (l *link) Close() error {
	l.release()
	return l.Conn.Close()
}

func (l *link) prepare(ctx context.Context, cfg *Config) (err error) {
	if cfg.Shape.Late > 0 {
		l.paused = sleep(ctx, upTo(cfg.Shape.Late))
	}
	if cfg.Peek {
		// Under TLS, so that a peek sees what TLS has to say too: there a
		// server's close is an alert first, which only the TLS layer can read.
		if l.peek, err = newPeekConn(l.Conn); err != nil {
			return err
		}
		l.Conn = l.peek
	}
	if cfg.Target.TLS == nil {
		return nil
	}
	l.SetDeadline(time.Now().Add(cfg.Timeout))
	t := tls.Client(l.Conn, cfg.Target.TLS)
	l.Conn = t
	if err := t.HandshakeContext(ctx); err != nil {
		return handshakeError{err}
	}
	if got := t.ConnectionState().NegotiatedProtocol; cfg.Target.overHTTP2() && got != "h2" {
		return handshakeError{fmt.Errorf("the server chose protocol %q, not h2", got)}
	}
	l.SetDeadline(time.Time{})
	return nil
}

// handshakeError is met after the connect.
type handshakeError struct{ error }

func (e handshakeError) Error() string { return "TLS handshake: " + e.error.Error() }
func (e handshakeError) Unwrap() error { return e.error }

// upTo is a random time from 0 to limit.
func upTo(limit time.Duration) time.Duration {
	if limit <= 0 {
		return 0
	}
	return rand.N(limit + 1)
}

// sleep waits for d, or until ctx ends, and says how long that was.
func sleep(ctx context.Context, d time.Duration) time.Duration {
	began := time.Now()
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
	return time.Since(began)
}
