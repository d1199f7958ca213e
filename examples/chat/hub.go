package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/handoff-dev/handoff/handoff"
)

// stateVersion is that of what lastWord writes.
const stateVersion = 1

// memory is how many lines of a room are remembered.
const memory = 20

// hub has the clients, and passes on what they say.
type hub struct {
	mu      sync.Mutex
	holds   int            // as long as there is one nobody talks
	talking sync.WaitGroup // goroutines of clients
	clients map[*client]struct{}
	state   hubState
}

// hubState goes to the next generation.
type hubState struct {
	Next  int                 // number of the next message
	Rooms map[string][]string // what was said last
}

func newHub() *hub {
	return &hub{holds: 1, clients: make(map[*client]struct{}), state: hubState{Next: 1, Rooms: make(map[string][]string)}}
}

// hold brings all to a halt: when it returns nothing is read from a client or
// written to one.
func (h *hub) hold() {
	h.mu.Lock()
	h.holds++
	for c := range h.clients {
		c.conn.SetDeadline(time.Unix(1, 0))
		c.wake.Broadcast()
	}
	h.mu.Unlock()
	h.talking.Wait()
}

// release takes one hold back.
func (h *hub) release() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.holds--
	if h.holds > 0 {
		return
	}
	for c := range h.clients {
		h.startLocked(c)
	}
}

// add lets a client in.
func (h *hub) add(c *client) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.clients[c] = struct{}{}
	if h.holds == 0 {
		h.startLocked(c)
	}
}

func (h *hub) startLocked(c *client) {
	c.conn.SetDeadline(time.Time{})
	h.talking.Go(c.read)
	h.talking.Go(c.write)
}

// remove is when a client has gone.
func (h *hub) remove(c *client) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.removeLocked(c)
}

func (h *hub) removeLocked(c *client) {
	delete(h.clients, c)
	c.gone = true
	c.wake.Broadcast()
	c.conn.Close()
}

// leave returns all clients, who are the hub's no more.
func (h *hub) leave() (all []*client) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.clients {
		all = append(all, c)
	}
	clear(h.clients)
	return all
}

// heard takes what a client has sent. It returns false if the client is to go.
func (h *hub) heard(c *client, data []byte) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	c.In = append(c.In, data...)
	for {
		line, rest, ok := strings.Cut(string(c.In), "\n")
		if !ok {
			return len(c.In) <= maxLine && !c.gone
		}
		c.In = append(c.In[:0], rest...)
		if !h.lineLocked(c, strings.ToValidUTF8(strings.TrimSuffix(line, "\r"), "?")) {
			return false
		}
	}
}

func (h *hub) lineLocked(c *client, line string) bool {
	command, rest, _ := strings.Cut(line, " ")
	switch {
	case line == "":
	case line == "/quit":
		return false
	case line == "/history":
		for _, said := range h.state.Rooms[c.Room] {
			c.sayLocked(said)
		}
	case command == "/nick" && rest != "":
		c.Nick = rest
	case command == "/join" && rest != "":
		c.Room = rest
		c.sayLocked("* " + c.Nick + " is in " + c.Room)
	case strings.HasPrefix(line, "/"):
		c.sayLocked("* commands are /nick NAME, /join ROOM, /history and /quit")
	default:
		h.tellLocked(c, line)
	}
	return true
}

// tellLocked says a line to all in the room.
func (h *hub) tellLocked(from *client, line string) {
	said := fmt.Sprintf("%d %s: %s", h.state.Next, from.Nick, line)
	h.state.Next++
	past := append(h.state.Rooms[from.Room], said)
	h.state.Rooms[from.Room] = past[max(0, len(past)-memory):]
	for c := range h.clients {
		if c.Room == from.Room && !c.sayLocked(said) {
			h.removeLocked(c)
		}
	}
}

// lastWord returns what writes the state, for good: nobody talks afterwards, unless
// release follows. A generation that still gets clients waits for them first.
func (h *hub) lastWord(settled <-chan struct{}) func(io.Writer) error {
	return func(w io.Writer) error {
		<-settled
		h.hold()
		return json.NewEncoder(w).Encode(h.state)
	}
}

// load takes the last word of the generation before.
func (h *hub) load(st *handoff.NamedState) error {
	if st.Version > stateVersion {
		return fmt.Errorf("version %d of the state, this program knows %d", st.Version, stateVersion)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return json.NewDecoder(st).Decode(&h.state)
}
