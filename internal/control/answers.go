package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/handoff-dev/handoff/internal/terminal"
)

func (s *Server) status(w http.ResponseWriter, _ *http.Request) {
	s.answer(w, http.StatusOK, s.service.Status())
}

func (s *Server) stop(w http.ResponseWriter, _ *http.Request) {
	status, answer := s.service.Stop()
	s.answer(w, status, answer)
}

func (s *Server) upgrade(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		s.fault(w, http.StatusBadRequest, "bad_request", "reading the body: "+err.Error())
		return
	}
	s.busy(r)
	// It may take longer than the request may.
	if err := http.NewResponseController(w).SetReadDeadline(time.Time{}); err != nil {
		return
	}
	var order UpgradeRequest
	if len(body) > 0 {
		if err := json.Unmarshal(body, &order); err != nil {
			s.fault(w, http.StatusBadRequest, "bad_request", "the body has to be a JSON object, or empty: "+err.Error())
			return
		}
	}
	if order.TimeoutMS < 0 || order.TimeoutMS > maxTimeout.Milliseconds() {
		s.fault(w, http.StatusBadRequest, "bad_request", "timeout_ms has to be between 0 and a day")
		return
	}
	if wantsStream(r) {
		s.streamUpgrade(w, order)
		return
	}
	status, answer := s.service.Upgrade(order)
	s.answer(w, status, answer)
}

const maxTimeout = 24 * time.Hour

// wantsStream tells whether the client wants to be told of the progress.
func wantsStream(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Accept"), streamType)
}

const streamType = "application/jsonl"

// streamUpgrade upgrades, with a line for each event meanwhile, and the answer as
// the last. Whoever follows the events takes no place of it, and there is one upgrade or
// check at a time: the service refuses others at once.
func (s *Server) streamUpgrade(w http.ResponseWriter, order UpgradeRequest) {
	out := begin(w)
	events, unsubscribe := s.feed.Subscribe()
	defer unsubscribe()
	answered := make(chan any, 1)
	go func() {
		_, answer := s.service.Upgrade(order)
		answered <- answer
	}()
	for {
		select {
		case e, ok := <-events:
			if !ok {
				events = nil // this generation's last
				continue
			}
			out.line(e) // who doesn't listen any more changes nothing
		case answer := <-answered:
			for events != nil {
				select {
				case e, ok := <-events:
					if ok {
						out.line(e)
						continue
					}
				default:
				}
				events = nil
			}
			out.line(answer)
			return
		}
	}
}

func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	select {
	case s.watchers <- struct{}{}:
		defer func() { <-s.watchers }()
	default:
		s.fault(w, http.StatusServiceUnavailable, "busy", fmt.Sprintf("%d clients follow the events already, and there are no more places", maxWatchers))
		return
	}
	// First, so that who has the head of the answer misses nothing of what he then does.
	events, unsubscribe := s.feed.Subscribe()
	defer unsubscribe()
	out := begin(w)
	for {
		select {
		case e, ok := <-events:
			if !ok || !out.line(e) {
				return
			}
		case <-r.Context().Done():
			return
		}
	}
}

// stream is an answer of JSON lines.
type stream struct {
	w      http.ResponseWriter
	out    *http.ResponseController
	broken bool
}

// begin sends the head of a stream.
func begin(w http.ResponseWriter) *stream {
	w.Header().Set("Content-Type", streamType)
	w.WriteHeader(http.StatusOK)
	st := &stream{w: w, out: http.NewResponseController(w)}
	st.broken = st.out.SetReadDeadline(time.Time{}) != nil // the server's is for requests
	st.flush()
	return st
}

// line sends one line; false says that nobody reads.
func (st *stream) line(v any) bool {
	text, err := terminal.MarshalJSON(v)
	if err != nil || st.broken {
		return false
	}
	_ = st.out.SetWriteDeadline(time.Now().Add(patience))
	if _, err := st.w.Write(append(text, '\n')); err != nil {
		st.broken = true
		return false
	}
	return st.flush()
}

func (st *stream) flush() bool {
	st.broken = st.broken || st.out.Flush() != nil
	return !st.broken
}

func (s *Server) fault(w http.ResponseWriter, status int, code, message string) {
	s.answer(w, status, s.service.Fault(code, message))
}

// answer answers one JSON object.
func (s *Server) answer(w http.ResponseWriter, status int, v any) {
	text, err := terminal.MarshalJSONIndent(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(patience)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return
	}
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n'))
}
