package inspect

import "errors"

// A Process is what there is to say of one.
type Process struct {
	PID        int    `json:"pid"`
	Name       string `json:"name"`
	Parent     int    `json:"parent"`
	ParentName string `json:"parentName"`
	// Unit is the systemd unit that its control group is of, "" if there is none.
	Unit string `json:"unit,omitempty"`
	// Executable is the path of what it runs, as it was when it was executed.
	Executable string `json:"executable"`
	// ExecutableState is "" while the file at that path is the one that runs, else
	// "replaced" or "deleted". "unknown" is for want of permission.
	ExecutableState string `json:"executableState,omitempty"`
	// Handoff tells whether the program is built with package handoff.
	Handoff bool `json:"handoff"`
	// Environment are the variables of sd_listen_fds(3) that it was executed with, and no
	// others. Those of a program that has read them are still here.
	Environment map[string]string `json:"environment"`
	// Meant tells whether LISTEN_PID names this process.
	Meant bool `json:"meant"`
	// Descriptors are what it has open.
	Descriptors []Descriptor `json:"descriptors"`
	// Others are the processes that have a socket of its that clients come by, and the
	// generations that seem to drain. The oldest is the first.
	Others []Other `json:"others"`
	// Unseen is how many processes' descriptors may not be looked at, which may be
	// others too.
	Unseen int `json:"unseen"`
}

// A Descriptor is an open file of a process.
type Descriptor struct {
	FD      int      `json:"fd"`
	Name    string   `json:"name,omitempty"` // from LISTEN_FDNAMES, while the sockets lie where they were passed
	Kind    string   `json:"kind"`
	Address string   `json:"address,omitempty"`
	Peer    string   `json:"peer,omitempty"`
	State   string   `json:"state,omitempty"`
	Waiting int      `json:"waiting,omitempty"` // connections that nobody has accepted yet
	Flags   []string `json:"flags"`
	Inode   string   `json:"inode,omitempty"`
	Shared  []int    `json:"shared,omitempty"` // pids of the Others that have it
}

// Listens tells a socket that clients come by.
func (d Descriptor) Listens() bool { return Socket{State: d.State}.Listens() }

// Other is a process that shares a socket.
type Other struct {
	PID      int      `json:"pid"`
	Name     string   `json:"name"`
	Relation Relation `json:"relation"`
	Shared   int      `json:"shared"` // how many sockets; a generation that drains has none
}

// Relation is what another process is to the one that was asked about.
type Relation string

// The relations. A generation is told by its LISTEN_PID, which its predecessor wrote
// when it started it, and by running the same program as that or being its sibling; a
// holder runs another program. A child without a LISTEN_PID of its own is a worker.
const (
	Predecessor Relation = "predecessor"
	Successor   Relation = "successor"
	Holder      Relation = "holder" // gave the sockets, as a service manager does
	Held        Relation = "held"   // was given them by this one
	Worker      Relation = "worker" // a child that has them as it was forked
	Parent      Relation = "parent" // whose worker this one is
	Sharer      Relation = "other"
)

// Errors that say what is the matter.
var (
	// ErrNoProcess: there is no process of that pid.
	ErrNoProcess = errors.New("there is no such process")
	// ErrUnsupported: this system has no /proc of Linux's kind.
	ErrUnsupported = errors.ErrUnsupported
)

// Read looks at a process, without touching it. What may not be seen is missing; that
// its descriptors may not is an error, which wraps fs.ErrPermission.
func Read(pid int) (*Process, error) { return read(pid) }

// facts are what the relation of two processes is told by.
type facts struct {
	pid, parent int
	inner       string // its pid in its own pid namespace
	started     uint64 // in ticks since the start of the machine
	own         bool   // LISTEN_PID names it
	executable  string
	manager     bool // pid 1, or a systemd
}

// relation is what other is to p, who have a socket in common.
func relation(p, other facts) Relation {
	older, newer := other, p
	otherIsOlder := other.started < p.started || other.started == p.started && other.pid < p.pid
	if !otherIsOlder {
		older, newer = p, other
	}
	pick := func(ifOlder, ifNewer Relation) Relation {
		if otherIsOlder {
			return ifOlder
		}
		return ifNewer
	}
	same := older.executable != "" && older.executable == newer.executable
	switch {
	case older.manager:
		return pick(Holder, Held)
	case newer.own && (same || newer.parent == older.parent):
		return pick(Predecessor, Successor)
	case newer.parent == older.pid && !newer.own:
		return pick(Parent, Worker)
	case newer.parent == older.pid:
		return pick(Holder, Held)
	}
	return Sharer
}
