package load

import (
	"context"
	"io"
	"sync/atomic"
	"time"
)

// pausingBody is a request's body, with a pause at its middle.
type pausingBody struct {
	ctx    context.Context
	parts  [2][]byte
	at     int
	pause  time.Duration
	paused atomic.Int64 // the answer may come before the body was read
	read   atomic.Bool
}

func newBody(ctx context.Context, body []byte, pause time.Duration) *pausingBody {
	b := &pausingBody{ctx: ctx, pause: pause}
	if pause == 0 {
		b.at, b.parts[1] = 1, body
		return b
	}
	half := len(body) / 2
	b.parts = [2][]byte{body[:half], body[half:]}
	return b
}

func (b *pausingBody) Read(p []byte) (int, error) {
	if b.at == 0 && len(b.parts[0]) == 0 {
		b.paused.Store(int64(sleep(b.ctx, b.pause)))
		b.at = 1
		if err := b.ctx.Err(); err != nil {
			return 0, err
		}
	}
	n := copy(p, b.parts[b.at])
	b.parts[b.at] = b.parts[b.at][n:]
	if b.at == 1 && len(b.parts[1]) == 0 {
		b.read.Store(true)
		return n, io.EOF
	}
	return n, nil
}

// wasRead says whether all of it went out.
func (b *pausingBody) wasRead() bool { return b.read.Load() }

func (b *pausingBody) Close() error { return nil }

func (b *pausingBody) pausedFor() time.Duration { return time.Duration(b.paused.Load()) }
