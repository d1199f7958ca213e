package handoff

import (
	"crypto/tls"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/handoff-dev/handoff/handoff/internal/link"
)

// clocked are tickets at a time that the test sets.
func clocked(now *time.Time) *tickets {
	return &tickets{now: func() time.Time { return *now }}
}

// seal is the key of a new ticket, opens tells whether one can be opened.
func seal(by *tickets) (key []byte) {
	by.current()
	return by.export()[0].Key
}

func opens(by *tickets, key []byte) bool {
	by.current()
	return slices.ContainsFunc(by.export(), func(k link.TicketKey) bool { return slices.Equal(k.Key, key) })
}

func TestTicketKeysRotateDailyAndAreGoodForAWeekInAllGenerations(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	generation := clocked(&now)
	first := seal(generation)
	var yesterday []byte
	for n := range 10 {
		if open := opens(generation, first); open != (n < 7) {
			t.Errorf("day %d: the first ticket can be opened: %v", n, open)
		}
		if yesterday != nil && !opens(generation, yesterday) {
			t.Errorf("day %d: yesterday's ticket can't be opened", n)
		}
		yesterday = seal(generation)
		successor := clocked(&now)
		successor.inherit(generation.export())
		if !opens(successor, yesterday) || !opens(generation, seal(successor)) {
			t.Errorf("day %d: a generation can't open the other's ticket", n)
		}
		if len(successor.keys) != min(n+1, 7) {
			t.Errorf("day %d: %d keys", n, len(successor.keys))
		}
		generation = successor
		now = now.Add(day)
	}
	if opens(clocked(&now), yesterday) {
		t.Error("a stranger can open a ticket")
	}
}

func TestKeysOfTheFutureAndOfTheWrongLengthDoNoHarm(t *testing.T) {
	t.Parallel()
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	g := clocked(&now)
	g.inherit([]link.TicketKey{{Key: make([]byte, 31), Created: now}, {Key: make([]byte, 32), Created: now.Add(1000 * time.Hour)}})
	seal(g)
	now = now.Add(25 * time.Hour)
	seal(g)
	if len(g.keys) != 2 || slices.Equal(g.keys[0].Key, make([]byte, 32)) {
		t.Errorf("no new key after a day: %d keys", len(g.keys))
	}
}

func TestTicketsThatTheProgramManagesAreLeftAlone(t *testing.T) {
	t.Parallel()
	u := newUpgrader(t, Options{})
	keys := &tls.Config{}
	keys.SetSessionTicketKeys([][32]byte{{1}})
	for name, config := range map[string]*tls.Config{
		"SessionTicketsDisabled": {SessionTicketsDisabled: true},
		"SessionTicketKey":       {SessionTicketKey: [32]byte{1}},
		"SetSessionTicketKeys":   keys,
		"WrapSession":            {WrapSession: func(tls.ConnectionState, *tls.SessionState) ([]byte, error) { return nil, nil }},
		"UnwrapSession":          {UnwrapSession: func([]byte, tls.ConnectionState) (*tls.SessionState, error) { return nil, nil }},
	} {
		wrap, unwrap := config.WrapSession != nil, config.UnwrapSession != nil
		u.ShareTicketKeys(config)
		if (config.WrapSession != nil) != wrap || (config.UnwrapSession != nil) != unwrap {
			t.Errorf("%s was overruled", name)
		}
	}
	srv := &http.Server{TLSConfig: &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return nil, nil }}}
	ServeTLS(srv, listenLocal(t, u), "", "")
	if srv.TLSConfig.WrapSession != nil {
		t.Error("GetConfigForClient was overruled")
	}
	if len(u.tickets.export()) > 0 {
		t.Error("keys were made that nobody uses")
	}
	theirs := &tls.Config{}
	srv = &http.Server{TLSConfig: theirs}
	ServeTLS(srv, listenLocal(t, u), "", "")
	if srv.TLSConfig.WrapSession == nil {
		t.Error("tickets are not shared")
	}
	if theirs.WrapSession != nil {
		t.Error("a configuration was changed that may be in use elsewhere")
	}
}
