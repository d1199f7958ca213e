package handoff

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"

	"github.com/handoff-dev/handoff/handoff/internal/link"
)

// A draining generation may live longer than the main one that has taken over from
// it (Options.Readopt). It can't serve again itself, for its servers have been told
// to end. But it is of a version that is known to work, and it can start that once
// more: with its sockets, which it has kept open and so nobody is refused meanwhile.
//
// There must never be two main generations, so a generation does this by order
// only. The main generation has one heir, the youngest that drains, and tells it so
// (link.KindHeir; its predecessor is its heir from the start). It has none while it
// upgrades, because its successor would go on by itself. It tells each to hurry
// when it stops. So who is the heir when the link breaks knows that the main
// generation has died and that nobody else is on the way.

// spare is what a draining generation keeps for another main generation. It
// belongs to the goroutine of loop.
type spare struct {
	sockets []spareSocket
	files   []*shared   // of Keep and Store
	elders  []spareLink // of older generations that drain, which the main one knows too
	decided chan<- struct{}
}

// spareSocket is a duplicate of a socket of ours. It is a bare descriptor, for in
// an os.File it would wake this process at each connection that another accepts.
type spareSocket struct {
	fd     int
	origin origin
	of     *shared
}

type spareLink struct {
	link.Elder
	end *os.File
}

// readopts tells whether this generation keeps what it hands over. To a successor
// that is another program it would be of no use: that has no heir. Under systemd it
// would only be in the way, see [Options.Readopt].
func (u *Upgrader) readopts() bool {
	s := u.successor
	systemd := u.manager.address != "" && os.Getenv("INVOCATION_ID") != "" // systemd.exec(5)
	return u.opts.Readopt && !systemd && (s.linked || s.moves)
}

// keepSpare duplicates the sockets, just before they are closed.
func (u *Upgrader) keepSpare() bool {
	if !u.readopts() {
		return false
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, s := range u.shared {
		if s.gate == nil {
			u.spare.files = append(u.spare.files, s)
			continue
		}
		if s.alone { // it has come too late to be handed over
			continue
		}
		fd, err := holdSocket(s.File)
		if errors.Is(err, net.ErrClosed) {
			continue
		}
		if err != nil {
			u.log.Warn("a socket can't be kept: this generation will not readopt the service", "name", s.Name, "error", err)
			u.dropSpare()
			return false
		}
		u.spare.sockets = append(u.spare.sockets, spareSocket{fd, s.told(), s})
	}
	return true
}

// exportSpare gives away what was kept, as exports does.
func (u *Upgrader) exportSpare() (files []*os.File, origins []origin, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, s := range u.routed {
		s.slot = -1
	}
	for _, s := range u.spare.sockets {
		s.of.slot = len(files)
		files = append(files, os.NewFile(uintptr(s.fd), s.origin.Name))
		origins = append(origins, s.origin)
	}
	u.spare.sockets = nil
	for _, s := range u.spare.files {
		d, err := dupFile(s.File)
		if errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrClosed) {
			continue
		}
		if err != nil {
			closeAll(files)
			return nil, nil, err
		}
		files = append(files, d)
		origins = append(origins, s.told())
	}
	return files, origins, nil
}

// deserted is when nobody has the other end of a successor's link any more.
func (u *Upgrader) deserted(s *successor) {
	if s != u.successor || u.machine.phase != phaseDraining {
		return
	}
	if !s.heir {
		u.handle(occurrence{event: eventReleased})
		return
	}
	u.handle(occurrence{event: eventDeserted})
}

// revive starts this very version again.
func (u *Upgrader) revive() {
	dead := u.successor
	u.log.Warn("the main generation has died: starting this version once more", "generation", dead.newest)
	dead.link.Close()
	image, err := ownImage()
	cmd := u.command()
	// No State: what this generation could give has been changed by the dead one.
	hello := link.Hello{Next: dead.newest + 1, Program: cmd.Path}
	cmd.Path, cmd.Args = image, started.args
	export := u.exportSpare
	if err != nil {
		export = func() ([]*os.File, []origin, error) { return nil, nil, err }
	}
	s, err := u.newSuccessor(cmd, hello, export)
	s.newest = hello.Next
	u.follow(s, err)
}

// appointRevived is appoint for a successor in the place of one that has died. There
// is nothing to go back to, so only its own death is an error.
func (u *Upgrader) appointRevived() error {
	s := u.successor
	if err := u.namePID(s.pid); err != nil {
		u.log.Error("after the main generation's death", "error", err)
	}
	u.log.Debug("handing over", "successor", s.pid)
	u.tellManager(MainPID(s.pid), Ready, Status(fmt.Sprintf("Serving, generation %d; generation %d (pid %d) drains", s.newest, u.generation, os.Getpid())))
	u.settle(s)
	if err := s.link.Send(linkWait, link.KindCommit, struct{}{}); isDead(err) {
		return fmt.Errorf("%w when it was to take over", ErrExited)
	} else if err != nil {
		u.log.Error("telling the successor that it has taken over", "error", err)
	}
	return nil
}

// isDead tells whether the error of a Send says that nobody has the other end.
func isDead(err error) bool {
	return errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)
}

// forsake tells of a revival that came to nothing.
func (u *Upgrader) forsake(cause error) {
	u.stopClock()
	u.log.Error("the service is without a main generation", "error", u.successor.explain(cause))
}

// releaseSpare closes what was kept.
func (u *Upgrader) releaseSpare() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.dropSpare()
}

func (u *Upgrader) dropSpare() {
	for _, s := range u.spare.sockets {
		closeSocket(s.fd)
	}
	for _, e := range u.spare.elders {
		e.end.Close()
	}
	u.spare.sockets, u.spare.files, u.spare.elders = nil, nil, nil
}

// awaitRevival waits, when all connections of a draining generation have ended,
// until the main one has let it go. If that has died, this waits for the end of the
// revival.
func (u *Upgrader) awaitRevival() {
	decided := make(chan struct{})
	if !u.post(occurrence{run: func() { u.spare.decided = decided; u.decide() }}) {
		return
	}
	select {
	case <-decided:
	case <-u.cut:
	}
}

// decide asks the main generation whether it is alive, at the end of the drain. It
// answers that this one is not its heir any more; else the end of its link is on the
// way. A mere Send doesn't tell: the kernel may close what a process that was
// killed had open a little later than its end is known.
func (u *Upgrader) decide() {
	s := u.successor
	if u.machine.spare {
		if !s.heir {
			u.handle(occurrence{event: eventReleased})
		} else if err := s.link.Send(linkWait, link.KindStatus, link.Status{Leaving: true}); err != nil && !isDead(err) {
			u.handle(occurrence{event: eventReleased})
		} else {
			u.startClock(linkWait, func() { u.handle(occurrence{event: eventReleased}) })
		}
	}
	u.checkRevival()
}

// checkRevival tells awaitRevival when there is nothing to wait for.
func (u *Upgrader) checkRevival() {
	if u.spare.decided != nil && !u.machine.spare && u.machine.phase != phaseReviving {
		close(u.spare.decided)
		u.spare.decided = nil
	}
}

// appointHeir tells the youngest generation that drains, and no other, that it is
// this one's heir.
func (u *Upgrader) appointHeir() {
	var heir *relative
	if u.machine.phase == phaseServing && !u.machine.awaiting {
		for _, e := range u.family.elders {
			if !e.leaving {
				heir = e
			}
		}
	}
	if heir == u.family.heir {
		return
	}
	u.disinherit()
	if u.family.heir = heir; heir != nil {
		u.tellHeir(link.Heir{Heir: true, Generation: u.generation})
	}
}

// disinherit has nobody be the heir.
func (u *Upgrader) disinherit() {
	if u.family.heir != nil {
		u.tellHeir(link.Heir{Generation: u.generation})
		u.family.heir = nil
	}
}

// letGo is when an older generation has nothing left to drain.
func (u *Upgrader) letGo(e *relative) {
	if e.leaving {
		return // it asks once
	}
	e.leaving = true
	if e == u.family.heir {
		u.appointHeir()
		return
	}
	if err := e.conn.Send(linkWait, link.KindHeir, link.Heir{Generation: u.generation}); err != nil && !isDead(err) {
		u.log.Warn("letting a draining generation go", "older", e.PID, "error", err)
	}
}

func (u *Upgrader) tellHeir(h link.Heir) {
	if err := u.family.heir.conn.Send(linkWait, link.KindHeir, h); err != nil && !isDead(err) {
		u.log.Warn("telling a draining generation whether it is the heir", "older", u.family.heir.PID, "error", err)
	}
}

// takeName is for a process that was started by another path than the one that
// leads to the next version: by its predecessor's image.
func (u *Upgrader) takeName(program string) {
	if program == "" {
		return
	}
	u.program = program
	nameProcess(filepath.Base(program))
}
