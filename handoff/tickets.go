package handoff

import (
	"crypto/rand"
	"crypto/tls"
	"slices"
	"sync"
	"time"

	"github.com/handoff-dev/handoff/handoff/internal/link"
)

// Lives of a session ticket key, those of crypto/tls's own (tls.Config).
const (
	ticketKeyRotation = 24 * time.Hour     // as the one for new tickets
	ticketKeyLifetime = 7 * 24 * time.Hour // for tickets that clients have
)

// tickets are the keys with which TLS session tickets are sealed. All generations
// have the same, which rotate as crypto/tls rotates its own.
type tickets struct {
	now func() time.Time // the clock

	mu     sync.Mutex
	keys   []link.TicketKey // the newest first
	config *tls.Config      // has the keys; replaced when they change
}

// inherit takes over the predecessor's keys.
func (t *tickets) inherit(keys []link.TicketKey) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	for _, k := range keys {
		if len(k.Key) != 32 {
			continue
		}
		if k.Created.After(now) { // the clock was set back
			k.Created = now
		}
		t.keys = append(t.keys, k)
	}
}

// export returns the keys for a successor.
func (t *tickets) export() []link.TicketKey {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.keys)
}

// current returns a configuration with the keys of this moment.
func (t *tickets) current() *tls.Config {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	if fresh := len(t.keys) > 0 && now.Sub(t.keys[0].Created) < ticketKeyRotation; fresh && t.config != nil {
		return t.config
	} else if !fresh {
		key := link.TicketKey{Key: make([]byte, 32), Created: now}
		rand.Read(key.Key) // never fails
		t.keys = slices.Insert(t.keys, 0, key)
	}
	t.keys = slices.DeleteFunc(t.keys, func(k link.TicketKey) bool { return now.Sub(k.Created) >= ticketKeyLifetime })
	all := make([][32]byte, len(t.keys))
	for i, k := range t.keys {
		all[i] = [32]byte(k.Key)
	}
	t.config = &tls.Config{}
	t.config.SetSessionTicketKeys(all)
	return t.config
}

// ShareTicketKeys has a TLS server resume the sessions that its clients had with
// other generations: the keys of its session tickets are handed from generation to
// generation, over a private socket. They rotate like those that crypto/tls makes
// for itself, daily, and are good for a week.
//
// It sets config's WrapSession and UnwrapSession, so call it before config is used
// or cloned. A config whose tickets the program manages itself, by these two, by
// SessionTicketKey, SetSessionTicketKeys or SessionTicketsDisabled, is left alone.
// [ServeTLS] calls it, unless there is a GetConfigForClient: which may call it on
// what it returns.
func (u *Upgrader) ShareTicketKeys(config *tls.Config) {
	if managesTickets(config) {
		return
	}
	u.tickets.current() // so that there is a key when a successor starts
	config.WrapSession = func(cs tls.ConnectionState, ss *tls.SessionState) ([]byte, error) {
		return u.tickets.current().EncryptTicket(cs, ss)
	}
	config.UnwrapSession = func(identity []byte, cs tls.ConnectionState) (*tls.SessionState, error) {
		return u.tickets.current().DecryptTicket(identity, cs)
	}
}

// managesTickets tells whether the program has said something about the tickets
// of a configuration.
func managesTickets(config *tls.Config) bool {
	return config.SessionTicketsDisabled || config.WrapSession != nil || config.UnwrapSession != nil ||
		hasTicketKeys(config)
}

// hasTicketKeys tells whether SessionTicketKey is set or SetSessionTicketKeys was
// called, of which crypto/tls shows only what follows: without, it asks its source of random bytes for a key
// when the last one is old.
func hasTicketKeys(config *tls.Config) bool {
	probe, source, now := config.Clone(), &keySource{}, time.Now()
	probe.Time = func() time.Time { return now }
	probe.Rand = source
	for range 2 { // the first time it may ask for more
		source.asked = false
		if _, err := probe.EncryptTicket(tls.ConnectionState{}, &tls.SessionState{}); err != nil {
			return true
		}
		now = now.Add(2 * ticketKeyLifetime)
	}
	return !source.asked
}

// keySource sees whether it is asked for a key, which is longer than what a
// ticket needs besides.
type keySource struct{ asked bool }

func (s *keySource) Read(p []byte) (int, error) {
	s.asked = s.asked || len(p) == 32
	return rand.Read(p)
}
