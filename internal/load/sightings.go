package load

import (
	"context"
	"sync"
	"time"
)

// sightings are the first answers of each process. The runners of a [Group]
// share them: what is new to one of them only is not new.
type sightings struct {
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
