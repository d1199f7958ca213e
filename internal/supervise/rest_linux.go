package supervise

import (
	"errors"
	"sync"
	"time"
)

// rest has a goroutine that reads something stand still, with nothing in its hands that
// it has read and not dealt with. What it reads from gets a read deadline in the past;
// then it takes its rest.
type rest struct {
	token chan struct{}
	gate  *sync.RWMutex // locked as long as all are to stand still
}

func (h *Holder) newRest() rest { return rest{token: make(chan struct{}, 1), gate: &h.gate} }

// take says that the goroutine stands still, and returns when it may go on.
func (r rest) take() {
	select {
	case r.token <- struct{}{}:
	default:
	}
	r.gate.RLock()
	defer r.gate.RUnlock()
}

// pauseWait bounds the wait for what is on its way.
const pauseWait = 2 * time.Second

var errRestless = errors.New("what the program writes, or tells of itself, does not come to an end")

// pause has all goroutines stand still that read from copies. What they have had to say
// is done, or comes later. After an error unpause is to be called too.
func (h *Holder) pause() error {
	h.gate.Lock()
	timeout := time.After(pauseWait)
	for _, c := range h.processes() {
		if c.ended {
			continue
		}
		still(c.hearing.token)
		_ = c.inbox.SetReadDeadline(time.Unix(1, 0))
		if !h.await(c.hearing.token, nil, timeout) {
			return errRestless
		}
		if c.stderr == nil || c.stderr.ended() {
			continue
		}
		still(c.stderr.rest.token)
		_ = c.stderr.reading.SetReadDeadline(time.Unix(1, 0))
		if !h.await(c.stderr.rest.token, c.stderr.stopped, timeout) {
			return errRestless
		}
	}
	return nil
}

// still takes away what is left from a pause that was given up.
func still(token chan struct{}) {
	select {
	case <-token:
	default:
	}
}

// await waits for either; what others want done meanwhile is done later.
func (h *Holder) await(token, or chan struct{}, timeout <-chan time.Time) bool {
	for {
		select {
		case <-token:
			return true
		case <-or:
			return true
		case f := <-h.events:
			h.soon(f)
		case <-timeout:
			return false
		}
	}
}

// unpause undoes pause.
func (h *Holder) unpause() {
	for _, c := range h.processes() {
		if c.ended {
			continue
		}
		_ = c.inbox.SetReadDeadline(time.Time{})
		if c.stderr != nil {
			_ = c.stderr.reading.SetReadDeadline(time.Time{})
		}
	}
	h.gate.Unlock()
}
