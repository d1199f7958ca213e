// Package link is the private channel between two generations: a socketpair
// that carries messages and descriptors, and whose end of file is the other
// side's death.
//
// A message is a header of eight bytes (kind, two bytes that are zero, length of
// the body, all big-endian: uint16, uint16, uint32) and a body, JSON in all kinds
// so far. Descriptors travel with the header. A receiver ignores kinds that it
// doesn't know and fields that it doesn't know, and closes descriptors that it
// has no use for, so that two releases can talk.
package link

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"
)

// Version is the version of the protocol that this package speaks; each side
// tells its own in its [Hello].
const Version = 1

// Kind says what a message is about.
type Kind uint16

const (
	// KindHello is the first message of each side; the body is a [Hello].
	KindHello Kind = 1
	// KindCommit says that the receiver is the main generation from now on.
	KindCommit Kind = 2
	// KindHurry asks a draining generation to end. To a successor it is the answer to
	// STOPPING=1: it need not wait for KindCommit any more.
	KindHurry Kind = 3
	// KindElder hands over the link to an older generation that is still
	// draining: one descriptor, and an [Elder].
	KindElder Kind = 4
	// KindUpgrade asks the newest generation, which is who holds the other end,
	// to upgrade.
	KindUpgrade Kind = 5
	// KindStatus tells the newest generation how far a draining one is; the body
	// is a [Status].
	KindStatus Kind = 6
	// Kinds 7 and 8 were one connection and its answer; they stay free.

	// KindHeir tells a draining generation, from the main one, whether it is to start
	// another main generation should the sender die; the body is an [Heir].
	KindHeir Kind = 9
	// KindStarted is a go-between's: it has started the successor, which is ready,
	// and is about to end. The body is a [Started]; the first descriptor is a pidfd of
	// the successor, the others are to stay open until the receiver's process ends.
	KindStarted Kind = 10
	// KindConnections hands over idle connections of one listener: a descriptor for
	// each, and [Connections]. Only who says that it takes them is sent any.
	KindConnections Kind = 11
	// KindTaken answers it; the body is a [Taken].
	KindTaken Kind = 12
)

// Limits of a message. Whatever is over them is no message of ours.
const (
	maxBody  = 1 << 20
	maxFiles = 250 // the kernel's SCM_MAX_FD is 253
)

// MaxInboxes is how many may be in one hello.
const MaxInboxes = maxFiles - 1 // one is the control socket

// ErrProtocol is wrapped by errors about bytes that are no message.
var ErrProtocol = errors.New("link: protocol violation")

// Hello is how one generation introduces itself to the other.
type Hello struct {
	Version    int `json:"version"`
	PID        int `json:"pid"`
	Generation int `json:"generation"`
	// Heirs is the successor's: it sends [KindHeir], and until then its predecessor
	// is its heir.
	Heirs bool `json:"heirs,omitempty"`
	// The rest is the predecessor's.

	// Next is the successor's generation; 0 means the next one.
	Next int `json:"next,omitempty"`
	// Program is the path that leads to the next version, for a successor that was
	// not started by it.
	Program string `json:"program,omitempty"`
	// Manager is the service manager's own NOTIFY_SOCKET.
	Manager string `json:"manager,omitempty"`
	// Files tells of the exported descriptors what LISTEN_FDNAMES can't, in its
	// order.
	Files []Origin `json:"files,omitempty"`
	// State: it answers [KindAsk].
	State bool `json:"state,omitempty"`
	// TicketKeys are those of TLS session tickets, the newest first. They are
	// secret.
	TicketKeys []TicketKey `json:"ticket_keys,omitempty"`
	// Inboxes tells of the descriptors that travel with the hello, in their order.
	Inboxes []Inbox `json:"inboxes,omitempty"`
	// Control tells of the control socket, the last of the descriptors that travel with
	// the hello, if there is one.
	Control *Origin `json:"control,omitempty"`
}

// TicketKey is the key of TLS session tickets.
type TicketKey struct {
	Key     []byte    `json:"key"` // 32 bytes
	Created time.Time `json:"created"`
}

// Inbox is a way to a generation that is to get datagrams from a shared socket which
// it doesn't read any more: the sending end of a pair of [Datagrams].
type Inbox struct {
	Generation int `json:"generation"`
	// File is the socket's index in the hello's Files.
	File int `json:"file"`
}

// Origin tells where a descriptor comes from.
type Origin struct {
	Name string `json:"name,omitempty"`
	// Ours: a generation of this service made the socket. Others were handed in
	// from outside.
	Ours bool `json:"ours,omitempty"`
	// Stored: the program has put it into the service manager's store.
	Stored bool `json:"stored,omitempty"`
	// UntilCommit: the sender goes on to read the socket until it has committed, and
	// its successor is not to read before.
	UntilCommit bool `json:"until_commit,omitempty"`
	// Network and Address are what the program asked for.
	Network string `json:"network,omitempty"`
	Address string `json:"address,omitempty"`
	// Path is the file that the last generation has to remove, and Device and
	// Inode tell whether it still is that file.
	Path   string `json:"path,omitempty"`
	Device uint64 `json:"device,omitempty"`
	Inode  uint64 `json:"inode,omitempty"`
}

// Elder is an older generation that is still draining.
type Elder struct {
	PID        int  `json:"pid"`
	Generation int  `json:"generation"`
	Hurried    bool `json:"hurried,omitempty"` // it has been told to hurry
	// Settled are the listeners for which it sends no KindMove any more.
	Settled []Settled `json:"settled,omitempty"`
	// Of its last Status: it sends none to a receiver that is new until something changes.
	Connections int   `json:"connections,omitempty"`
	Drain       Drain `json:"drain,omitzero"`
}

// Heir tells whether the receiver is the sender's heir, and the sender's generation.
type Heir struct {
	Heir       bool `json:"heir"`
	Generation int  `json:"generation"`
}

// Status is how far a draining generation is.
type Status struct {
	Connections int `json:"connections"` // that are left
	// Leaving: it is about to end, if the receiver lives, which says so by a
	// [KindHeir].
	Leaving bool `json:"leaving,omitempty"`
	Drain
}

// Connections are connections that wait for their next requests.
type Connections struct {
	// First is the number of the first; the others follow it.
	First uint64 `json:"first"`
	// Name and Address are those of the listener that has accepted them.
	Name    string `json:"name"`
	Address string `json:"address"`
	// Ages tells of each connection, in their order, how long it has waited. Older
	// releases don't tell.
	Ages []Age `json:"ages,omitempty"`
}

// Age is how long a connection has waited when it is sent.
type Age struct {
	// New: it waits for its first request, since it was accepted. Others wait since
	// their last answer.
	New     bool          `json:"new,omitempty"`
	Elapsed time.Duration `json:"elapsed"` // in nanoseconds; clocks differ, durations don't
}

// Age returns that of the connection number i, if it is known.
func (c Connections) Age(i int) (age Age) {
	if i < len(c.Ages) {
		age = c.Ages[i]
		age.Elapsed = max(age.Elapsed, 0)
	}
	return age
}

// Taken says how many of the connections of one message were taken, from the first
// on. The others are their sender's again.
type Taken struct {
	First uint64 `json:"first"`
	Taken int    `json:"taken"`
}

// Started is a successor that a go-between has started.
type Started struct {
	PID int `json:"pid"`
}

// Message is one message that was received. Its files are close-on-exec and
// belong to the receiver.
type Message struct {
	Kind  Kind
	Body  []byte
	Files []*os.File
	// Sockets are the descriptors of [KindConnections], in place of Files: there can be
	// thousands, and a file costs more than all the rest. Where the receiver may have
	// no more descriptors, only the first ones have come.
	Sockets []int
}

// Decode reads the body into v.
func (m Message) Decode(v any) error {
	if err := json.Unmarshal(m.Body, v); err != nil {
		return fmt.Errorf("%w: message of kind %d: %w", ErrProtocol, m.Kind, err)
	}
	return nil
}

// Close closes the message's files and sockets.
func (m Message) Close() {
	for _, f := range m.Files {
		f.Close()
	}
	closeSockets(m.Sockets)
}
