//go:build !small

package main

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/handoff-dev/handoff/internal/load"
	"github.com/handoff-dev/handoff/internal/terminal"
)

// progress tells how the demo goes: in one line that is written over and over
// on a terminal, in a line for each upgrade elsewhere.
type progress struct {
	w          io.Writer
	unheard    func() // called when nobody can read it any more
	isTerminal bool

	mu    sync.Mutex
	drawn bool // the terminal's line isn't ended
	state string
	count func() load.Counters
	total int
	n     int

	stop chan struct{}
	done chan struct{}
}

func newProgress(w io.Writer, unheard func()) *progress {
	return &progress{w: bare(w), unheard: unheard, isTerminal: isTerminal(w)}
}

// line writes a line that stays.
func (p *progress) line(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clearLocked()
	p.writeLocked("%s\n", terminal.Text(fmt.Sprintf(format, args...)))
}

// watch begins to tell of count, until end.
func (p *progress) watch(count func() load.Counters, upgrades int) {
	p.count, p.total = count, upgrades
	if !p.isTerminal {
		return
	}
	p.stop, p.done = make(chan struct{}), make(chan struct{})
	go func() {
		defer close(p.done)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			p.draw()
			select {
			case <-tick.C:
			case <-p.stop:
				return
			}
		}
	}()
}

func (p *progress) draw() {
	c := p.count()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clearLocked()
	p.writeLocked("%s requests, %s failed, %d of %d upgrades%s",
		number(c.Requests), number(c.Failed), p.n, p.total, p.state)
	p.drawn = true
}

func (p *progress) writeLocked(format string, args ...any) {
	if _, err := fmt.Fprintf(p.w, format, args...); err != nil {
		p.unheard()
	}
}

func (p *progress) clearLocked() {
	if p.drawn {
		p.writeLocked("\r\x1b[K")
		p.drawn = false
	}
}

// upgraded tells of an upgrade.
func (p *progress) upgraded(u upgrade) {
	p.mu.Lock()
	p.n++
	p.state = fmt.Sprintf(": version %d, pid %d, first answer after %s", u.Version, u.PID, milliseconds(u.FirstAnswer))
	n, state := p.n, p.state
	p.mu.Unlock()
	if !p.isTerminal {
		c := p.count()
		p.line("upgrade %d of %d%s; %s requests, %s failed", n, p.total, state, number(c.Requests), number(c.Failed))
	}
}

// end stops telling.
func (p *progress) end() {
	if p.stop != nil {
		close(p.stop)
		<-p.done
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clearLocked()
}
