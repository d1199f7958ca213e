package load

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"time"
)

// sightings are the first answers of each process. The runners of a [Group]
// share them: what is new to one of them only is not new.
type sightings struct {
	ids   identities
	mu    sync.Mutex
	first map[int]time.Time
	news  chan struct{} // closed, and replaced, at each change
}

func newSightings() *sightings {
	return &sightings{first: map[int]time.Time{}, news: make(chan struct{})}
}

// saw notes an answer of pid.
func (s *sightings) saw(pid int, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if first, ok := s.first[pid]; ok && !at.Before(first) {
		return
	}
	s.first[pid] = at
	close(s.news)
	s.news = make(chan struct{})
}

// after finds the process whose first answer came soonest after t, PID 0 if
// there is none. news is closed when there may be more to find.
func (s *sightings) after(t time.Time) (a Answer, news <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for pid, first := range s.first {
		if first.After(t) && (a.PID == 0 || first.Before(a.Time)) {
			a = Answer{PID: pid, Time: first}
		}
	}
	a.Identity = s.ids.text(a.PID)
	return a, s.news
}

// await waits for what after finds.
func (s *sightings) await(ctx context.Context, t time.Time) (Answer, error) {
	for {
		a, news := s.after(t)
		if a.PID != 0 {
			return a, nil
		}
		select {
		case <-news:
		case <-ctx.Done():
			return Answer{}, ctx.Err()
		}
	}
}

// identities gives numbers to what processes call themselves: a number is its
// own, other texts get negative ones. 0 is nobody's.
type identities struct {
	mu      sync.Mutex
	texts   []string // of -1, -2, …
	numbers map[int]struct{}
}

// These bound the memory that a header with a new value in each answer could take, here
// and where an answer's process is a key.
const (
	maxIdentities = 10000
	maxIdentity   = 256 // bytes
)

func (s *identities) of(text string) int {
	text = text[:min(len(text), maxIdentity)]
	n, err := strconv.ParseInt(text, 10, 32)
	if text == "" {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil && n > 0 {
		return s.number(int(n))
	}
	i := slices.Index(s.texts, text)
	if i < 0 {
		if len(s.texts) == maxIdentities {
			return 0
		}
		i = len(s.texts)
		s.texts = append(s.texts, text)
	}
	return -1 - i
}

func (s *identities) number(n int) int {
	if _, known := s.numbers[n]; known {
		return n
	}
	if len(s.numbers) == maxIdentities {
		return 0
	}
	if s.numbers == nil {
		s.numbers = map[int]struct{}{}
	}
	s.numbers[n] = struct{}{}
	return n
}

// text is empty for numbers that are their own.
func (s *identities) text(id int) string {
	if id >= 0 {
		return ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.texts[-1-id]
}
