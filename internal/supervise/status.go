package supervise

import "time"

// Status is what a Holder knows of itself, as of one instant.
type Status struct {
	PID        int            `json:"pid"`
	Generation int            `json:"generation"` // of the newest upgrade; the first start is 1
	Began      time.Time      `json:"began"`
	Reexecs    int            `json:"reexecs"` // how often the holder has upgraded itself
	Upgrading  bool           `json:"upgrading"`
	Stopping   bool           `json:"stopping"`
	LastError  string         `json:"lastError,omitempty"` // of the last upgrade, if it failed
	Sockets    []SocketStatus `json:"sockets"`
	Workers    []WorkerStatus `json:"workers"`
	Leaving    []CopyStatus   `json:"leaving"` // copies that were asked to stop
}

// SocketStatus is a socket that the holder has.
type SocketStatus struct {
	Name    string `json:"name"`
	Network string `json:"network,omitempty"`
	Address string `json:"address,omitempty"`
}

// WorkerStatus is a worker with its copies.
type WorkerStatus struct {
	Phase   string      `json:"phase"`   // idle, starting, serving, upgrading, probation, backoff, ended
	Crashes int         `json:"crashes"` // in a row
	Main    *CopyStatus `json:"main,omitempty"`
	Next    *CopyStatus `json:"next,omitempty"`
}

// CopyStatus is one process of the program.
type CopyStatus struct {
	PID        int       `json:"pid"`
	Generation int       `json:"generation"`
	Began      time.Time `json:"began"`
	Ready      bool      `json:"ready"`
	Status     string    `json:"status,omitempty"` // by sd_notify(3); it may hold control characters
}
