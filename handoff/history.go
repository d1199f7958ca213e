package handoff

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// maxHistory is how many upgrades are remembered.
const maxHistory = 20

// Limits of what a record holds of texts, in bytes.
const (
	maxCause  = 2 << 10
	maxOutput = 4 << 10
)

// history is the upgrades of this service that this generation knows of. A successor
// gets it from its predecessor.
type history struct {
	mu      sync.Mutex
	records []UpgradeRecord
	told    func() ([]UpgradeRecord, error) // by the predecessor, and not read yet
	current *UpgradeRecord                  // of the upgrade under way
	since   time.Time                       // of its present step
}

// adopt takes over what the predecessor has told, in place of what it told earlier. It
// is read when somebody wants to know, for that takes longer than all the rest of what a
// generation does before it accepts.
func (h *history) adopt(told func() ([]UpgradeRecord, error)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.told = told
}

func (h *history) readLocked() {
	if h.told == nil {
		return
	}
	if records, err := h.told(); err == nil {
		h.records = records[max(0, len(records)-maxHistory):]
	}
	h.told = nil
}

// all returns the records, the newest last.
func (h *history) all() []UpgradeRecord {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.readLocked()
	all := make([]UpgradeRecord, len(h.records))
	for i, r := range h.records {
		r.Phases = slices.Clone(r.Phases)
		all[i] = r
	}
	return all
}

// last returns the newest record.
func (h *history) last() *UpgradeRecord {
	if all := h.all(); len(all) > 0 {
		return &all[len(all)-1]
	}
	return nil
}

// begin begins an upgrade.
func (h *history) begin(from int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.since = time.Now()
	h.current = &UpgradeRecord{From: from, To: from + 1, Began: h.since, Phases: []PhaseTime{}}
}

// enter begins a step of the upgrade, and ends the one before. It returns false if
// there is no upgrade, or it is in this step already.
func (h *history) enter(step string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.current == nil {
		return false
	}
	if n := len(h.current.Phases); n > 0 && h.current.Phases[n-1].Name == step {
		return false
	}
	h.closeLocked()
	h.current.Phases = append(h.current.Phases, PhaseTime{Name: step})
	return true
}

func (h *history) closeLocked() {
	now := time.Now()
	if n := len(h.current.Phases); n > 0 {
		h.current.Phases[n-1].Seconds = now.Sub(h.since).Seconds()
	}
	h.since = now
}

// step returns the present one.
func (h *history) step() (name string, since time.Time, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.current == nil || len(h.current.Phases) == 0 {
		return "", time.Time{}, false
	}
	return h.current.Phases[len(h.current.Phases)-1].Name, h.since, true
}

// conclude ends the upgrade, and returns its record; nil if there was none.
func (h *history) conclude(pid int, err error) *UpgradeRecord {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.current == nil {
		return nil
	}
	h.closeLocked()
	r := h.current
	h.current = nil
	r.PID, r.Seconds, r.Outcome = pid, time.Since(r.Began).Seconds(), "committed"
	if err != nil {
		r.fail(err)
	}
	h.readLocked()
	h.records = append(h.records, *r)
	h.records = h.records[max(0, len(h.records)-maxHistory):]
	return r
}

// foretell returns all records with that of the upgrade under way, as it is if that is
// committed now.
func (h *history) foretell(pid int) []UpgradeRecord {
	all := h.all()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.current == nil {
		return all
	}
	r := *h.current
	r.Phases = slices.Clone(r.Phases)
	r.PID, r.Seconds, r.Outcome = pid, time.Since(r.Began).Seconds(), "committed"
	all = append(all, r)
	return all[max(0, len(all)-maxHistory):]
}

func (r *UpgradeRecord) fail(err error) {
	r.Outcome, r.Cause = "failed", head(err.Error(), maxCause)
	var e *UpgradeError
	if !errors.As(err, &e) {
		return
	}
	r.FailedIn, r.Cause = e.Phase, head(e.Err.Error(), maxCause)
	r.Said, r.Output = head(e.Status, maxCause), tail(e.Output, maxOutput)
	var errno syscall.Errno
	if errors.As(e.Errno, &errno) {
		r.Errno = int(errno)
	}
}

// drained notes that an older generation has ended.
func (h *history) drained(generation int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.readLocked()
	for i := range h.records {
		r := &h.records[i]
		if r.From != generation || r.Outcome != "committed" || slices.ContainsFunc(r.Phases, func(p PhaseTime) bool { return p.Name == "drain" }) {
			continue
		}
		took := time.Since(r.Began).Seconds() - r.Seconds
		r.Phases = append(slices.Clone(r.Phases), PhaseTime{Name: "drain", Seconds: max(took, 0)})
	}
}

// head and tail cut a text to a length.
func head(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

func tail(text string, most int) string {
	if len(text) > most {
		text = text[len(text)-most:]
		if i := strings.IndexByte(text, '\n'); i >= 0 && i < len(text)-1 {
			text = text[i+1:]
		}
		text = "…\n" + text
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}
