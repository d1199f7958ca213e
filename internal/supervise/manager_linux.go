package supervise

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/handoff-dev/handoff/handoff"
	"github.com/handoff-dev/handoff/internal/notify"
)

// manager is the service manager that this process was started by, if it speaks
// sd_notify(3). What is told to it is sent in order, by a goroutine: a manager that reads
// nothing doesn't hold up the holder.
type manager struct {
	holder   *Holder
	notifier *handoff.Notifier // nil: there is none
	queue    chan notification
	sent     chan struct{} // closed when all has been sent
	told     bool          // READY=1
	said     string        // the program's last STATUS
	watchdog time.Duration
}

type notification struct {
	states []handoff.State
	files  []*os.File // closed when they are sent
	flush  chan struct{}
}

func (h *Holder) meetManager() error {
	m := &manager{holder: h, queue: make(chan notification, 256), sent: make(chan struct{})}
	if h.manager != nil { // of the past
		m.told, m.said = h.manager.told, h.manager.said
	}
	h.manager = m
	var err error
	if m.notifier, err = handoff.OpenNotifier(); err != nil {
		return err
	}
	if m.watchdog, err = handoff.WatchdogInterval(); err != nil {
		return err
	}
	go m.send()
	if m.watchdog > 0 && m.notifier != nil {
		go m.pingAlone()
	}
	return nil
}

func (m *manager) send() {
	defer close(m.sent)
	for n := range m.queue {
		var files []syscall.Conn
		for _, f := range n.files {
			files = append(files, f)
		}
		if len(n.states) > 0 {
			if err := m.notifier.NotifyFiles(files, n.states...); err != nil {
				m.holder.post(func() { m.holder.log("telling the service manager: %v", err) })
			}
		}
		for _, f := range n.files {
			f.Close()
		}
		if n.flush != nil {
			close(n.flush)
		}
	}
}

// tell sends states. When the manager has not read for long, they are dropped.
func (m *manager) tell(files []*os.File, states ...handoff.State) {
	n := notification{states: states, files: files}
	if m.notifier != nil && len(states) > 0 {
		select {
		case m.queue <- n:
			return
		default:
			m.holder.log("the service manager reads nothing: %q is lost", states)
		}
	}
	if len(files) > 0 {
		go func() { // a file's system may take its time
			for _, f := range files {
				f.Close()
			}
		}()
	}
}

// flush waits until all is sent, for a while.
func (m *manager) flush() {
	n := notification{flush: make(chan struct{})}
	select {
	case m.queue <- n:
	default:
		return
	}
	select {
	case <-n.flush:
	case <-time.After(flushWait):
	}
}

const flushWait = 5 * time.Second

func (m *manager) close() {
	m.flush()
	close(m.queue)
}

// serving is when a worker serves that did not before: the service is ready when all do.
func (m *manager) serving() {
	if m.told {
		return
	}
	for _, w := range m.holder.workers {
		if !w.served {
			return
		}
	}
	m.told = true
	m.tell(nil, handoff.Ready, m.status())
}

func (m *manager) status() handoff.State {
	if m.said != "" {
		return handoff.Status(m.ofService(m.said))
	}
	return handoff.Status(fmt.Sprintf("Serving, generation %d", m.holder.generation))
}

// libraryStatus begins the STATUS of a copy that is built with package handoff and has
// not upgraded itself: to each of them it is its own first generation.
const libraryStatus = "Serving, generation 1"

// ofService has a copy's STATUS name the service's generation for the copy's own.
func (m *manager) ofService(text string) string {
	if rest, ok := strings.CutPrefix(text, libraryStatus); ok && (rest == "" || rest[0] == ';') {
		return fmt.Sprintf("Serving, generation %d%s", m.holder.generation, rest)
	}
	return text
}

func (m *manager) reloading(generation int) {
	if m.told {
		m.tell(nil, handoff.Reloading, handoff.Status(fmt.Sprintf("Upgrading to generation %d", generation)))
	}
}

// reloaded ends what reloading began. That it failed can be told by the status only.
func (m *manager) reloaded(generation int, cause error) {
	switch {
	case !m.told:
	case cause == nil:
		m.tell(nil, handoff.Ready, m.status())
	default:
		line, _, _ := strings.Cut(cause.Error(), "\n")
		m.tell(nil, handoff.Ready, handoff.Status(fmt.Sprintf("Serving; the upgrade to generation %d has failed: %s", generation, line)))
	}
}

func (m *manager) stopping() { m.tell(nil, handoff.Stopping, handoff.Status("Stopping")) }

// pingAlone keeps the watchdog quiet while no copy serves that could do it: clients wait
// in the queue then, and the end of the holder would be theirs.
func (m *manager) pingAlone() {
	tick := time.NewTicker(m.watchdog / 2)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-m.holder.done:
			return
		}
		m.holder.post(func() {
			for _, w := range m.holder.workers {
				if w.main != nil && w.main.ready && !w.main.asked {
					return
				}
			}
			m.tell(nil, "WATCHDOG=1")
		})
	}
}

// hear follows what c says of itself, whose process was pid.
func (h *Holder) hear(c *process, pid int) {
	self := os.Getpid()
	for {
		m, err := c.inbox.Receive()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			c.hearing.take()
			continue
		}
		if err != nil {
			return // closed
		}
		// The socket is this copy's, and its name can't be guessed, but it can be seen. So
		// any process below this one may use it: a wrapper's child, a helper that has been
		// orphaned. It has to be judged now, while the sender may still be there.
		below := m.Fault == nil && (m.From(self) || m.From(pid))
		h.post(func() {
			if m.Fault == nil && !below && m.PID != c.pid {
				m.Close()
				m.Fault = fmt.Errorf("notification from process %d ignored: it is none of the program's", m.PID)
			}
			switch {
			case m.Fault == nil:
				h.noted(c, m)
			case !c.warned:
				c.warned = true // any process can send thousands
				h.log("%s: %v", c, m.Fault)
			}
		})
	}
}

// ownMatters are the keys by which a copy would speak for the whole service.
var ownMatters = []string{"READY", "RELOADING", "STOPPING", "MONOTONIC_USEC", "MAINPID", "MAINPIDFD", "MAINPIDFDID",
	"NOTIFYACCESS", "WATCHDOG", "BARRIER"}

// noted takes a notification of c.
func (h *Holder) noted(c *process, m notify.Message) {
	w := c.worker
	c.spoke = true
	if text := m.Status(); text != "" {
		c.said = text
	}
	if d := m.ExtendTimeout(); d > 0 {
		switch {
		case c == w.main || c == w.next:
			if !c.ready {
				c.awaitReady(d)
			}
		case h.leaving[c]:
			c.killAfter(d)
		}
	}
	if pid := m.MainPID(); pid > 0 && pid != c.pid {
		h.follow(c, pid)
	}
	lines := m.Forwardable()
	main := c == w.main && (c.ready || m.Ready())
	if main {
		lines = m.Without(ownMatters...)
		if c.said != "" {
			h.manager.said = c.said
		}
	}
	first := m.Ready() && !c.ready
	if m.Ready() {
		h.speaks = true
		c.isReady()
	}
	if value, ok := m.Get("WATCHDOG"); ok && main {
		h.pinged(c, value)
	}
	var states []handoff.State
	for _, line := range lines {
		// What copies say that don't serve is seen in the log.
		text, isStatus := strings.CutPrefix(line, "STATUS=")
		switch {
		case !isStatus:
			states = append(states, handoff.State(line))
		case main && !first:
			states = append(states, handoff.Status(h.manager.ofService(text)))
		}
	}
	if main && len(h.workers) == 1 && h.roll == nil && h.manager.told {
		switch { // a reload of the program's own
		case m.Reloading():
			c.reloading = true
			states = append(states, handoff.Reloading)
		case m.Ready() && c.reloading:
			c.reloading = false
			states = append(states, handoff.Ready)
		}
	}
	h.manager.tell(m.Files, states...)
}

// pinged passes on that the program lives, when all copies that serve have said so.
func (h *Holder) pinged(c *process, value string) {
	if value != "1" {
		h.manager.tell(nil, handoff.State("WATCHDOG="+value))
		return
	}
	c.pinged = true
	for _, w := range h.workers {
		if w.main != nil && w.main.ready && !w.main.pinged {
			return
		}
	}
	for _, w := range h.workers {
		if w.main != nil {
			w.main.pinged = false
		}
	}
	h.manager.tell(nil, "WATCHDOG=1")
}

// follow is when a program says by MAINPID=pid that another process has taken over from
// it, as one does that upgrades itself.
func (h *Holder) follow(c *process, pid int) {
	if c.ended || !notify.IsDescendant(pid, os.Getpid()) {
		return
	}
	if h.children[pid] != nil {
		return // another copy's, or a command's
	}
	h.log("%s: the main process is %d now", c, pid)
	delete(h.children, c.pid)
	c.pid = pid
	h.children[pid] = c.exited
}
