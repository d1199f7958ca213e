package handoff

import (
	"net"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/handoff-dev/handoff/handoff/internal/link"
)

// processStart is when this process was started, nearly.
var processStart = time.Now()

// Status tells how the service is. It may be called at any time, in any goroutine;
// it waits for a step of an upgrade that is being taken.
func (u *Upgrader) Status() ServiceStatus {
	s := ServiceStatus{
		Schema:     StatusSchema,
		Kind:       "library",
		Generation: u.generation,
		PID:        os.Getpid(),
		Version:    u.opts.Version,
		Build:      build(),
		Started:    processStart,
		Uptime:     time.Since(processStart).Seconds(),
		Binary:     u.binary(),
		Listeners:  []ListenerStatus{},
		Draining:   []DrainingStatus{},
	}
	if s.Version == "" {
		s.Version = s.Build.Version
	}
	if !u.inLoop(func() { u.readLife(&s) }) {
		select {
		case <-u.looped: // Close: what the loop had is ours now
			u.readLife(&s)
		case <-time.After(time.Second):
		}
	}
	s.Upgrades = u.history.all()
	open := u.countOpen()
	s.Listeners = append(s.Listeners, u.sockets(open)...)
	s.Requests, s.Connections = u.served()
	return s
}

// readLife fills in what belongs to the loop.
func (u *Upgrader) readLife(s *ServiceStatus) {
	s.Phase = u.machine.phase.String()
	for _, e := range u.family.elders {
		s.Draining = append(s.Draining, u.drainingStatus(e))
	}
	if step, since, ok := u.history.step(); ok && u.successor != nil {
		s.Successor = &SuccessorStatus{Generation: u.generation + 1, PID: u.successor.pid, Step: step, Since: since, Said: u.successor.status}
	}
}

func (u *Upgrader) drainingStatus(e *relative) DrainingStatus {
	d := DrainingStatus{Generation: e.Generation, PID: e.PID, Hurried: e.Hurried, Connections: e.Connections, Since: e.Drain.Since, Deadline: e.Drain.Deadline}
	for _, l := range e.Drain.Open {
		d.Listeners = append(d.Listeners, ListenerDrain{Name: l.Name, Address: l.Address, Open: l.Open})
	}
	return d
}

var build = sync.OnceValue(func() (b BuildStatus) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	b.Path, b.Version, b.Go = info.Path, info.Main.Version, info.GoVersion
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Revision = s.Value
		case "vcs.time":
			b.Time = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	return b
})

// binary looks at the file of the next upgrade.
func (u *Upgrader) binary() BinaryStatus {
	b := BinaryStatus{Path: u.command().Path}
	next, err := os.Stat(b.Path)
	if err != nil {
		b.Fault = err.Error()
		return b
	}
	running, err := os.Stat(runningFile())
	if err != nil {
		b.Fault = err.Error()
		return b
	}
	b.Changed = !os.SameFile(next, running) || next.Size() != running.Size() || !next.ModTime().Equal(running.ModTime())
	return b
}

// countOpen counts the connections of all servers by the listener at which they came
// in. Listeners without a server of Serve are not in it.
func (u *Upgrader) countOpen() map[*listener]int {
	u.mu.Lock()
	sets := make([]*connSet, 0, len(u.connSets))
	for set := range u.connSets {
		sets = append(sets, set)
	}
	u.mu.Unlock()
	open := make(map[*listener]int)
	for _, set := range sets {
		set.countInto(open)
	}
	return open
}

func (u *Upgrader) sockets(open map[*listener]int) (all []ListenerStatus) {
	u.mu.Lock()
	known := slices.Clone(u.shared)
	u.mu.Unlock()
	for _, s := range known {
		if s.gate == nil {
			continue // kept, but no socket that we read
		}
		l := ListenerStatus{Name: s.Name, Network: s.origin.Network, Address: s.origin.Address}
		switch c := s.Conn.(type) {
		case net.Listener:
			l.Address = c.Addr().String()
		case net.PacketConn:
			l.Address = c.LocalAddr().String()
		}
		if s.hall != nil {
			l.Accepted, l.Moved = s.hall.accepted.Load(), s.hall.moved.Load()
			if n, ok := open[s.hall]; ok {
				l.Open = &n
			}
		}
		all = append(all, l)
	}
	return all
}

// served counts what the servers of Serve have done.
func (u *Upgrader) served() (requests uint64, connections int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for set := range u.connSets {
		requests += set.requests.Load()
		connections += set.len()
	}
	return requests, connections
}

// drainReport is what this generation, which drains, tells the newest.
func (u *Upgrader) drainReport() (open []link.OpenAt, total int) {
	for l, n := range u.countOpen() {
		if n > 0 {
			open = append(open, link.OpenAt{Name: l.name, Address: l.Addr().String(), Open: n})
		}
	}
	slices.SortFunc(open, func(a, b link.OpenAt) int {
		if a.Name != b.Name {
			return strings.Compare(a.Name, b.Name)
		}
		return strings.Compare(a.Address, b.Address)
	})
	return open, u.openConnections()
}
