package handoff

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/handoff-dev/handoff/handoff/internal/link"
	"github.com/handoff-dev/handoff/handoff/internal/watcher"
	"github.com/handoff-dev/handoff/internal/notify"
)

// manager is the service manager, systemd most often, as a generation knows it.
// It belongs to the goroutine of loop. Only the main generation speaks to it:
// under NotifyAccess=main it doesn't listen to others, and a STOPPING=1 of an old
// one would, under NotifyAccess=all, end the new one.
type manager struct {
	address  string    // its NOTIFY_SOCKET; "" without one
	notifier *Notifier // nil without one
	deaf     bool      // it supervises this process and gave it no NOTIFY_SOCKET
	watchdog time.Duration
	pings    context.CancelFunc // ends them
	stored   []*shared          // what is in its fd store
}

// meetManager reads what the manager has told this process, which its
// predecessor, if it has one, has passed on as address.
func (u *Upgrader) meetManager(address string, linked bool) (err error) {
	m := &u.manager
	if linked {
		if m.address = address; address != "" {
			m.notifier, err = DialNotifier(address)
		}
	} else {
		m.address = os.Getenv("NOTIFY_SOCKET")
		m.notifier, err = OpenNotifier()
	}
	if err != nil {
		return err
	}
	m.deaf = m.address == "" && supervised()
	m.watchdog, err = WatchdogInterval()
	return err
}

// supervised tells whether systemd has started this process as the main process
// of a service (systemd.exec(5), SYSTEMD_EXEC_PID since version 248).
func supervised() bool {
	return os.Getenv("INVOCATION_ID") != "" && os.Getenv("SYSTEMD_EXEC_PID") == strconv.Itoa(os.Getpid())
}

// refusal says why there can be no upgrade, or why one would be the end of the service.
func (u *Upgrader) refusal() error {
	switch {
	case !canUpgrade:
		return ErrUnsupported
	case os.Getpid() == 1:
		return fmt.Errorf("%w: this process is PID 1 of its container or pid namespace, and at its end the kernel ends all others there; %s, and in a systemd unit leave out PrivatePIDs=", ErrWouldEndService, runAdvice)
	case u.manager.deaf && !u.namedByFile():
		return fmt.Errorf("%w: systemd started this process without a NOTIFY_SOCKET, so it can't be told that the main process changes; set Type=notify and NotifyAccess=main in the unit", ErrWouldEndService)
	}
	if who, found := watcher.Find(notify.IsReceiver(u.manager.address)); found {
		return fmt.Errorf("%w: %s watches the process that it has started and can't be told of another one; %s", ErrWouldEndService, who, runAdvice)
	}
	return nil
}

// runAdvice is what works where the first process is watched.
const runAdvice = "run the program under 'handoff run', which keeps its process id and swaps the program behind it"

// tellManager sends states to the service manager, if there is one.
func (u *Upgrader) tellManager(states ...State) {
	if err := u.manager.notifier.Notify(states...); err != nil {
		u.log.Warn("telling the service manager", "error", err)
	}
}

// settleWait bounds the wait for a manager that has stopped to read, or that keeps
// a barrier's descriptor.
const settleWait = 5 * time.Second

// settle waits until the manager has read who takes over, or s has ended. For
// systemd doesn't take a dead process for the main process: if s died, or was through
// with an upgrade of its own, before systemd has read of it, the end of this process
// would be the end of the service.
func (u *Upgrader) settle(s *successor) {
	if u.manager.notifier == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), settleWait)
	defer cancel()
	go func() {
		select {
		case <-s.ended:
			cancel()
		case <-ctx.Done():
		}
	}()
	err := u.manager.notifier.Barrier(ctx)
	if err != nil && !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, context.Canceled) {
		u.log.Warn("the service manager may not know yet who takes over", "successor", s.pid, "error", err)
	}
}

// sayReady tells whoever started this process that it is ready.
func (u *Upgrader) sayReady() {
	if u.peer.Predecessor != nil {
		u.relieve()
	}
	if u.family.predecessor == nil {
		if u.generation > 1 {
			// The manager still believes in a predecessor that has died.
			u.tellManager(MainPID(os.Getpid()), Ready, u.serving())
			return
		}
		u.tellManager(Ready, u.serving())
		return
	}
	u.tellPredecessor(Ready, takesConnections, takesState)
}

// takesConnections comes with the READY=1 of a successor that understands
// link.KindConnections. In its hello it could arrive later than the READY=1, when the
// drain has begun.
const takesConnections State = confidential + "MANY_CONNECTIONS=1"

// tellPredecessor sends states to the predecessor that has not committed yet; its
// socket is in the environment until then.
func (u *Upgrader) tellPredecessor(states ...State) {
	n, err := OpenNotifier()
	if err == nil {
		err = n.Notify(states...)
		n.Close()
	}
	if err != nil {
		u.log.Error("telling the predecessor", "states", states, "error", err)
	}
}

// become makes this the main generation.
func (u *Upgrader) become() {
	u.mu.Lock()
	u.main = true
	u.setGatesLocked()
	sockets := len(u.shared)
	u.mu.Unlock()
	u.serveControl()
	if u.machine.phase == phaseStopping {
		// The stop and the predecessor's commit, or its death, have crossed.
		u.tellManager(Stopping, Status("Stopping"))
		for _, o := range u.family.left {
			u.unlink(o)
		}
		return
	}
	for _, o := range u.family.abandoned {
		u.unlink(o)
	}
	u.family.abandoned = nil
	u.syncStore()
	go warmUp(sockets)
	if u.generation > 1 {
		// The program's own notifications were for the predecessor so far.
		if u.manager.address != "" {
			os.Setenv("NOTIFY_SOCKET", u.manager.address)
		} else {
			os.Unsetenv("NOTIFY_SOCKET")
		}
	}
	u.ping()
}

// ping begins to keep the manager's watchdog quiet.
func (u *Upgrader) ping() {
	if u.opts.Watchdog == nil || u.manager.watchdog == 0 || u.manager.notifier == nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	u.manager.pings = cancel
	go u.manager.notifier.Watchdog(ctx, u.manager.watchdog, u.opts.Watchdog)
}

// fallSilent is when this generation has nothing to tell the manager any more.
func (u *Upgrader) fallSilent() {
	u.mu.Lock()
	u.main = false
	u.mu.Unlock()
	u.endPings()
}

// endPings sees to it that no ping comes after what this generation says next.
func (u *Upgrader) endPings() {
	if u.manager.pings != nil {
		u.manager.pings()
		u.manager.pings = nil
	}
}

// serving is the one line of `systemctl status`.
func (u *Upgrader) serving() State {
	var text strings.Builder
	fmt.Fprintf(&text, "Serving, generation %d", u.generation)
	elders, connections := u.family.elders, 0
	for _, e := range elders {
		connections += e.Connections
	}
	switch len(elders) {
	case 0:
	case 1:
		fmt.Fprintf(&text, "; generation %d (pid %d) drains", elders[0].Generation, elders[0].PID)
	default:
		fmt.Fprintf(&text, "; %d older generations drain", len(elders))
	}
	switch connections {
	case 0:
	case 1:
		text.WriteString(", 1 connection left")
	default:
		fmt.Fprintf(&text, ", %d connections left", connections)
	}
	return Status(text.String())
}

// report refreshes the status when something about the elders has changed.
func (u *Upgrader) report() {
	if u.machine.phase == phaseServing && !u.machine.awaiting {
		u.tellManager(u.serving())
	}
}

// reportDrain tells the newest generation, which alone speaks to the manager, how
// many connections this one has left.
func (u *Upgrader) reportDrain(newest *link.Conn) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	since := time.Now()
	var told link.Status
	for first := true; ; first = false {
		var s link.Status
		s.Open, s.Connections = u.drainReport()
		if first || s.Connections != told.Connections || !slices.Equal(s.Open, told.Open) {
			told = s
			s.Since, s.Deadline = since, since.Add(u.opts.DrainTimeout)
			if err := newest.Send(linkWait, link.KindStatus, s); err != nil {
				return // nobody is there to hear it
			}
		}
		select {
		case <-tick.C:
		case <-u.done:
			return
		}
	}
}

// openConnections counts those of the servers that Run runs.
func (u *Upgrader) openConnections() (n int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for set := range u.connSets {
		n += set.len()
	}
	return n
}

// oneLine makes of an error what may stand in a status.
func oneLine(err error) string {
	const most = 500
	text := strings.Join(strings.Fields(err.Error()), " ")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}
