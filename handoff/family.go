package handoff

import (
	"errors"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/handoff-dev/handoff/handoff/internal/link"
	"github.com/handoff-dev/handoff/handoff/internal/stage"
)

// family is whom a generation knows. It belongs to the goroutine of loop.
type family struct {
	predecessor *relative       // until it has committed, then it is an elder
	elders      []*relative     // those that drain, the oldest first
	heir        *relative       // the one of them that knows itself to be our heir
	abandoned   []origin        // sockets that this version of the program doesn't want any more
	dropped     []string        // and their names
	gone        chan<- struct{} // to be closed when there are no elders
	leaving     []*os.Process   // elders that have closed their link while the service stops
	word        chan<- struct{} // to be closed when the predecessor knows that we stop
	heard       bool            // it does
	left        []origin        // sockets that were closed at the end, their files left to the main generation
}

// relative is another generation, at the other end of a link.
type relative struct {
	link.Elder
	conn    *link.Conn
	leaving bool // it has nothing left to do
	process *os.Process
	desk    *desk // for questions to a predecessor; nil if it answers none
}

// endLag is how much later than the end of its link a process's own end may be
// known.
const endLag = 200 * time.Millisecond

// linkWait bounds the sending of a message: all are small, so only a process
// that has stopped to receive doesn't take them at once.
const linkWait = time.Second

// meetPredecessor finds out who started this process.
func (u *Upgrader) meetPredecessor() error {
	fd, linked := stage.Link()
	value := os.Getenv(stage.LinkVariable)
	os.Unsetenv(stage.LinkVariable)
	if u.peer.Predecessor != nil {
		return u.meetForeign()
	}
	if !linked || value == "" { // another Upgrader has had it
		close(u.orphaned)
		u.readIndex()
		return u.meetManager("", false)
	}
	conn, err := link.Open(fd)
	if err != nil {
		return &EnvError{Variable: stage.LinkVariable, Value: value, Reason: "it must name the socket to the predecessor", Err: err}
	}
	hello, files, err := greet(conn)
	if err != nil {
		// It died at once, or is of another making: we are on our own.
		close(u.orphaned)
		u.log.Warn("the predecessor does not answer", "error", err)
		conn.Close()
		closeAll(files)
		if err = u.meetManager("", false); err != nil {
			// NOTIFY_SOCKET is its own, and is gone with it.
			u.log.Warn("going on without a service manager", "error", err)
			err = u.meetManager("", true)
		}
		return err
	}
	if err := u.meetManager(hello.Manager, true); err != nil {
		conn.Close()
		closeAll(files)
		return err
	}
	u.generation = hello.Generation + 1
	if hello.Next > u.generation {
		u.generation = hello.Next
	}
	u.takeName(hello.Program)
	u.origins = hello.Files
	u.meetOutlets(hello, u.meetControl(hello, files))
	u.tickets.inherit(hello.TicketKeys)
	if secureMode() {
		forgetPaths(u.origins)
	}
	u.machine.awaiting = true
	p := &relative{Elder: link.Elder{PID: hello.PID, Generation: hello.Generation}, conn: conn, desk: newDesk(hello)}
	u.family.predecessor = p
	go u.followRelative(p)
	return nil
}

// greet exchanges hellos with the predecessor. One that has died since has left its
// own to be read, and that tells what this process inherits; so it counts as met.
// The files are of hello.Inboxes, and the caller's.
func greet(conn *link.Conn) (hello link.Hello, files []*os.File, err error) {
	// A link.Hello with what is a successor's. The whole type takes package json some
	// time at its first use, and reading one has to wait for that.
	me := struct {
		Version int  `json:"version"`
		PID     int  `json:"pid"`
		Heirs   bool `json:"heirs"`
	}{link.Version, os.Getpid(), true}
	_ = conn.Send(linkWait, link.KindHello, me) // reading tells of a failure
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return hello, nil, err
	}
	m, err := conn.Receive()
	if err != nil {
		return hello, nil, err
	}
	if m.Kind != link.KindHello {
		m.Close()
		return hello, nil, errors.New("its first message is no hello")
	}
	if err := m.Decode(&hello); err != nil {
		m.Close()
		return hello, nil, err
	}
	return hello, m.Files, conn.SetReadDeadline(time.Time{})
}

// followRelative receives what an older generation has to say, until it has
// ended or its link has been handed on.
func (u *Upgrader) followRelative(r *relative) {
	defer r.desk.end()
	for {
		m, err := r.conn.ReceiveAnd(func(m link.Message) {
			switch m.Kind {
			case link.KindConnections:
				u.immigrate(r, m)
			case link.KindMove:
				u.admit(r, m)
			case link.KindState:
				u.receiveState(r, m)
			}
		})
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return // Detach
		}
		if err != nil {
			u.post(occurrence{run: func() { u.lost(r) }})
			return
		}
		switch m.Kind {
		case link.KindConnections, link.KindMove, link.KindState:
		default:
			u.post(occurrence{run: func() { u.told(r, m) }})
		}
	}
}

// told takes one message of an older generation.
func (u *Upgrader) told(r *relative, m link.Message) {
	defer m.Close()
	switch m.Kind {
	case link.KindCommit:
		if r == u.family.predecessor {
			u.family.predecessor = nil
			u.log.Info("the predecessor has handed over", "predecessor", r.PID)
			u.addElder(r)
			u.family.heir = r // as our hello has said
			u.handle(occurrence{event: eventCommitted})
			u.checkWord()
			u.checkSettled()
		}
	case link.KindSettled:
		u.noteSettled(r, m)
	case link.KindHurry:
		// The answer to STOPPING=1.
		u.family.heard = true
		u.checkWord()
	case link.KindElder:
		e := &relative{}
		if len(m.Files) != 1 || m.Decode(&e.Elder) != nil {
			return
		}
		var err error
		if e.conn, err = link.OpenFile(m.Files[0]); err != nil {
			u.log.Warn("the link to an older generation", "error", err)
			return
		}
		u.addElder(e)
		u.report()
		go u.followRelative(e)
	case link.KindStatus:
		var s link.Status
		if m.Decode(&s) == nil {
			r.Connections, r.Drain = s.Connections, s.Drain
			if s.Leaving {
				u.letGo(r)
			}
			u.report()
		}
	case link.KindHistory:
		u.learnHistory(m)
	case link.KindUpgrade:
		u.handle(occurrence{event: eventSignal})
	}
}

// addElder notes a generation that drains, and makes the oldest hurry if there
// are too many.
func (u *Upgrader) addElder(r *relative) {
	if p := u.machine.phase; p == phaseDraining || p == phaseReviving {
		u.passOn(r) // to who is the newest by now
		return
	}
	r.process, _ = os.FindProcess(r.PID) // while its link says that it lives
	u.family.elders = append(u.family.elders, r)
	if u.machine.phase == phaseStopping {
		u.hurryElder(r)
		return
	}
	slices.SortFunc(u.family.elders, func(a, b *relative) int { return a.Generation - b.Generation })
	for over := len(u.family.elders) - u.opts.MaxDraining; over > 0; over-- {
		e := u.family.elders[over-1]
		if e.Hurried {
			continue
		}
		u.log.Warn("too many generations drain: the oldest has to hurry", "older", e.PID, "draining", len(u.family.elders))
		u.hurryElder(e)
	}
	u.appointHeir()
}

func (u *Upgrader) hurryElder(e *relative) {
	e.Hurried = true
	if err := e.conn.Send(linkWait, link.KindHurry, struct{}{}); err != nil {
		u.log.Warn("telling a draining generation to hurry", "older", e.PID, "error", err)
	}
}

// checkElders tells awaitElders when there are none, and their processes have
// really ended: what systemd finds in the cgroup after our own end it kills.
func (u *Upgrader) checkElders() {
	if u.family.gone == nil || len(u.family.elders) > 0 {
		return
	}
	gone, leaving := u.family.gone, u.family.leaving
	u.family.gone = nil
	go func() {
		defer close(gone)
		for _, p := range leaving {
			for range 1000 {
				if p.Signal(syscall.Signal(0)) != nil {
					break
				}
				time.Sleep(time.Millisecond)
			}
		}
	}()
}

// checkWord tells awaitWord when there is nothing to wait for.
func (u *Upgrader) checkWord() {
	if u.family.word != nil && (u.family.heard || u.family.predecessor == nil) {
		close(u.family.word)
		u.family.word = nil
	}
}

// lost is when an older generation has ended.
func (u *Upgrader) lost(r *relative) {
	r.conn.Close()
	if r.Generation == u.generation-1 {
		closeOnce(u.orphaned)
	}
	if r == u.family.predecessor {
		u.family.predecessor = nil
		u.forgetOutlets(r.Generation)
		u.log.Warn("the predecessor has died before it handed over", "predecessor", r.PID)
		if u.machine.phase == phaseServing {
			u.adopt() // first, for an upgrade may begin at once
		}
		u.handle(occurrence{event: eventOrphaned})
		u.checkWord()
		u.checkSettled()
		return
	}
	u.family.elders = slices.DeleteFunc(u.family.elders, func(e *relative) bool { return e == r })
	u.forgetOutlets(r.Generation)
	u.log.Info("an older generation has ended", "older", r.PID, "draining", len(u.family.elders))
	if r == u.family.heir {
		u.family.heir = nil
	}
	u.appointHeir()
	u.noteDrained(r)
	if r.process != nil && u.machine.phase == phaseStopping {
		u.family.leaving = append(u.family.leaving, r.process)
	} else if r.process != nil {
		_ = r.process.Release()
	}
	u.report()
	u.checkElders()
	u.checkSettled()
}

// adopt does what a predecessor that died could not do at its commit.
func (u *Upgrader) adopt() {
	if err := u.namePID(os.Getpid()); err != nil {
		u.log.Error("after the predecessor's death", "error", err)
	}
	// systemd believes it under NotifyAccess=all; under main it has seen the
	// main process die and acts by Restart=.
	u.tellManager(MainPID(os.Getpid()), Ready, u.serving())
}

// finish is the end of this generation; the loop is over.
func (u *Upgrader) finish() {
	u.mu.Lock()
	last := u.main
	u.mu.Unlock()
	if p := u.machine.phase; p == phaseUpgrading || p == phaseProbation {
		last = false // an unplanned end: the successor goes on as an orphan
	}
	u.endShared(ErrStopping, last)
	u.inherited.Close()
	u.closeOutlets()
	if last && u.opts.PIDFile != "" {
		if err := removePIDFile(u.opts.PIDFile, os.Getpid()); err != nil {
			u.log.Warn("at the end", "error", err)
		}
	}
	u.stopClock()
	u.endControl(last)
	if u.successor != nil {
		u.successor.release()
	}
	if p := u.family.predecessor; p != nil {
		p.conn.Close()
	}
	u.disinherit()
	for _, e := range u.family.elders {
		e.conn.Close()
	}
	u.releaseSpare()
	u.manager.notifier.Close()
}
