package handoff

import "time"

// StatusSchema is the version of the types below as JSON, which the control socket
// answers (see Options.Control). It changes when a field changes its meaning or
// goes; new fields may come at any time, and readers ignore what they don't know.
const StatusSchema = 1

// ServiceStatus is what a generation knows of the service, as of one instant.
type ServiceStatus struct {
	Schema int    `json:"schema"` // StatusSchema
	Kind   string `json:"kind"`   // "library"; "run" for a holder of `handoff run`

	Generation int    `json:"generation"`
	PID        int    `json:"pid"`
	Phase      string `json:"phase"` // starting, serving, upgrading, probation, aborting, draining, stopping

	// Version is Options.Version, else the main module's version.
	Version string       `json:"version,omitempty"`
	Build   BuildStatus  `json:"build"`
	Started time.Time    `json:"started"` // the process, not the service
	Uptime  float64      `json:"uptime_seconds"`
	Binary  BinaryStatus `json:"binary"`

	Listeners []ListenerStatus `json:"listeners"` // datagram sockets too
	// Requests is how many the http.Servers of Serve have begun to answer in this
	// generation, and Connections how many are open on the servers of Serve.
	Requests    uint64 `json:"requests"`
	Connections int    `json:"connections"`

	Successor *SuccessorStatus `json:"successor,omitempty"` // while there is an upgrade
	Draining  []DrainingStatus `json:"draining"`            // older generations, the oldest first
	Upgrades  []UpgradeRecord  `json:"upgrades"`            // the last 20, the newest last

	Workers []WorkerStatus `json:"workers,omitempty"` // of a holder
}

// WorkerStatus is one of the places in which a holder of `handoff run` has a copy of its
// program serve.
type WorkerStatus struct {
	Worker int    `json:"worker"` // from 1
	Phase  string `json:"phase"`  // starting, serving, upgrading, probation, backoff, ended
	// The copy that serves or starts; all zero while there is none.
	Generation int       `json:"generation,omitempty"`
	PID        int       `json:"pid,omitempty"`
	Started    time.Time `json:"started,omitzero"`
	Said       string    `json:"status,omitempty"`  // its last STATUS=
	Crashes    int       `json:"crashes,omitempty"` // in a row
}

// BuildStatus is what the go command has written into the running executable.
type BuildStatus struct {
	Path     string `json:"path,omitempty"`    // the main package's
	Version  string `json:"version,omitempty"` // the main module's
	Go       string `json:"go,omitempty"`
	Revision string `json:"revision,omitempty"`
	Time     string `json:"time,omitempty"` // of the revision
	Modified bool   `json:"modified,omitempty"`
}

// BinaryStatus is about the file that the next upgrade starts.
type BinaryStatus struct {
	Path string `json:"path"`
	// Changed: it is not the file that this process runs: another device, inode, size
	// or time of modification. Elsewhere than on Linux a replaced file can't be told
	// from the old one.
	Changed bool `json:"changed"`
	// Fault is why the file can't be looked at: it is missing, most often.
	Fault string `json:"fault,omitempty"`
}

// ListenerStatus is a socket of Listen or ListenPacket.
type ListenerStatus struct {
	Name    string `json:"name"`
	Network string `json:"network"`
	Address string `json:"address"`
	// Accepted is how many connections this generation has accepted, and Moved how many
	// have come from older ones.
	Accepted uint64 `json:"accepted"`
	Moved    uint64 `json:"moved"`
	// Open is how many connections are open that have come in here. It is null where
	// that isn't known: for datagrams, and where no server of Serve accepts.
	Open *int `json:"open"`
}

// SuccessorStatus is the next generation, on its way.
type SuccessorStatus struct {
	Generation int       `json:"generation"`
	PID        int       `json:"pid,omitempty"` // 0 before it has started
	Step       string    `json:"step"`          // as PhaseTime.Name
	Since      time.Time `json:"since"`         // of the step
	Said       string    `json:"status,omitempty"`
}

// DrainingStatus is an older generation, and what it waits for.
type DrainingStatus struct {
	Generation int       `json:"generation"`
	PID        int       `json:"pid"`
	Since      time.Time `json:"since,omitzero"`    // of its hand-over, where it is known
	Deadline   time.Time `json:"deadline,omitzero"` // when its connections are cut, where it is known
	Hurried    bool      `json:"hurried,omitempty"` // it was told to end soon
	// Connections are those that are still open there, in all and by listener.
	Connections int             `json:"connections"`
	Listeners   []ListenerDrain `json:"listeners,omitempty"`
}

// ListenerDrain counts the connections that have come in at a listener.
type ListenerDrain struct {
	Name    string `json:"name"`
	Address string `json:"address"`
	Open    int    `json:"open"`
}

// UpgradeRecord tells of one upgrade that is over.
type UpgradeRecord struct {
	From    int       `json:"from"` // generations
	To      int       `json:"to"`
	PID     int       `json:"pid,omitempty"` // the successor's; 0 if none was started
	Began   time.Time `json:"began"`
	Seconds float64   `json:"seconds"` // until it was committed, or had failed
	Outcome string    `json:"outcome"` // committed, failed
	// Phases are the steps that were come to, in order.
	Phases []PhaseTime `json:"phases"`

	// Of a failed one, as in UpgradeError:
	FailedIn string `json:"failed_in,omitempty"`
	Cause    string `json:"cause,omitempty"`
	Said     string `json:"status,omitempty"` // the successor's last STATUS=
	Errno    int    `json:"errno,omitempty"`
	Output   string `json:"output,omitempty"` // UpgradeError.Output
}

// PhaseTime is how long a step of an upgrade has taken: "preflight", "start" (until
// the process runs), "ready" (until it is ready), "probation", "state" (last words),
// "commit" (telling the service manager and the successor), "rollback" (until a
// failed successor has ended), and "drain" (the old generation's, after the
// commit, once it has ended).
type PhaseTime struct {
	Name    string  `json:"name"`
	Seconds float64 `json:"seconds"`
}

// Event is one line of GET /v1/events.
type Event struct {
	Schema int `json:"schema"`
	// Type is "step" (one of an upgrade begins: Step), "committed" or "failed" (an
	// upgrade is over: Upgrade), "drained" (an older generation has ended: Draining),
	// "serving" (this generation is the main one from now on), "stopping", and
	// "handed_over": the last in a stream; the rest is to be had from the successor,
	// by connecting anew.
	Type       string          `json:"type"`
	Time       time.Time       `json:"time"`
	Generation int             `json:"generation"` // whose event it is
	PID        int             `json:"pid"`
	Step       string          `json:"step,omitempty"`
	Successor  int             `json:"successor,omitempty"` // its pid, once it has one
	Upgrade    *UpgradeRecord  `json:"upgrade,omitempty"`
	Draining   *DrainingStatus `json:"draining,omitempty"`
}

// UpgradeAnswer is the answer to POST /v1/upgrade, and the last line of its stream.
type UpgradeAnswer struct {
	Schema int    `json:"schema"`
	Type   string `json:"type"` // "result"
	// Outcome is "committed", "failed", "timed_out" (the client's own timeout; nothing has
	// changed), "checked" (the check command succeeded), or "refused": there can be no
	// upgrade now.
	Outcome    string `json:"outcome"`
	Generation int    `json:"generation"` // that serves
	PID        int    `json:"pid"`
	// Code says why in one word: not_ready, in_progress, handed_over, stopping,
	// unsupported, would_end_service, no_preflight.
	Code    string         `json:"code,omitempty"`
	Message string         `json:"message,omitempty"`
	Output  string         `json:"output,omitempty"` // of the check command, or the tail of the successor's stderr
	Upgrade *UpgradeRecord `json:"upgrade,omitempty"`
}

// Fault is the answer to a request that can't be served.
type Fault struct {
	Schema  int    `json:"schema"`
	Code    string `json:"code"`
	Message string `json:"message"`
}
