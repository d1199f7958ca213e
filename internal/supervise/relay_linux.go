package supervise

import (
	"context"
	"io"
	"net"
	"sync"

	"github.com/handoff-dev/handoff/internal/shortage"
)

// relay has an address of its own, at which it is one process of all those with the same
// socket that answers.
type relay struct {
	ln     net.Listener
	cancel context.CancelFunc
	all    sync.WaitGroup
}

// newRelay leads connections to those of addr that process pid accepts. It is nil if addr
// is.
func newRelay(ctx context.Context, addr net.Addr, pid int) (*relay, error) {
	if addr == nil {
		return nil, nil
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	r := &relay{ln: ln, cancel: cancel}
	r.all.Go(func() {
		var pause shortage.Pause
		for {
			conn, err := ln.Accept()
			if err != nil {
				if pause.Wait(err, ctx.Done()) {
					continue
				}
				return
			}
			pause.Over()
			r.all.Go(func() {
				defer conn.Close()
				to, _, err := dialOwned(ctx, addr, pid, "")
				if err != nil {
					return
				}
				defer to.Close()
				defer context.AfterFunc(ctx, func() { conn.Close(); to.Close() })()
				exchange(conn, to)
			})
		}
	})
	return r, nil
}

func (r *relay) address() string { return r.ln.Addr().String() }

func (r *relay) close() {
	if r == nil {
		return
	}
	r.cancel()
	r.ln.Close()
	r.all.Wait()
}

// exchange copies both ways until both have ended.
func exchange(a, b net.Conn) {
	var both sync.WaitGroup
	for _, pair := range [][2]net.Conn{{a, b}, {b, a}} {
		both.Go(func() {
			_, _ = io.Copy(pair[0], pair[1])
			if half, ok := pair[0].(interface{ CloseWrite() error }); ok {
				_ = half.CloseWrite()
			}
		})
	}
	both.Wait()
}
