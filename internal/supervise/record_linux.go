package supervise

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/handoff-dev/handoff/handoff"
	"golang.org/x/sys/unix"
)

// What is kept of the past.
const (
	mostRecords = 20
	mostOutput  = 4 << 10
)

// step is when an upgrade has come to one: see handoff.PhaseTime. With several workers
// a step's time is that of all.
func (w *worker) step(name string) {
	h := w.holder
	if h.roll == nil || h.roll.next < 0 || h.workers[h.roll.next] != w {
		return
	}
	if w.next != nil {
		h.roll.pid = w.next.pid
	}
	h.roll.enter(name)
	h.tell(handoff.Event{Type: "step", Step: name, Successor: h.roll.pid})
}

// enter ends the step that was under way, and begins another; "": none.
func (r *roll) enter(name string) {
	now := time.Now()
	if r.step != "" {
		r.took(r.step, now.Sub(r.since).Seconds())
	}
	r.step, r.since = name, now
}

func (r *roll) took(step string, seconds float64) {
	for i := range r.phases {
		if r.phases[i].Name == step {
			r.phases[i].Seconds += seconds
			return
		}
	}
	r.phases = append(r.phases, handoff.PhaseTime{Name: step, Seconds: seconds})
}

// record notes an upgrade that is over.
func (h *Holder) record(r *roll, cause error) handoff.UpgradeRecord {
	in := r.step
	r.enter("")
	rec := handoff.UpgradeRecord{
		From: r.from, To: h.generation, PID: r.pid, Began: r.began, Seconds: time.Since(r.began).Seconds(),
		Outcome: "committed", Phases: append([]handoff.PhaseTime{}, r.phases...),
	}
	if cause != nil {
		rec.Outcome, rec.FailedIn = "failed", in
		rec.Cause, rec.Said, rec.Output = explain(cause)
	}
	h.upgrades = append(h.upgrades, rec)
	if over := len(h.upgrades) - mostRecords; over > 0 {
		h.upgrades = append([]handoff.UpgradeRecord(nil), h.upgrades[over:]...)
	}
	return rec
}

// explain takes the error of a failed copy apart: why, its last STATUS, and what it wrote
// last to its standard error.
func explain(cause error) (why, said, output string) {
	var end *EndError
	if !errors.As(cause, &end) {
		return cause.Error(), "", ""
	}
	short := *end
	short.Tail = nil
	output = strings.Join(end.Tail, "\n")
	if over := len(output) - mostOutput; over > 0 {
		output = strings.ToValidUTF8(output[over:], "")
	}
	return short.Error(), end.Said, output
}

// serves is the newest generation of which a copy serves.
func (h *Holder) serves() (generation, pid int) {
	for _, w := range h.workers {
		if w.main != nil && w.main.generation > generation {
			generation, pid = w.main.generation, w.main.pid
		}
	}
	if generation == 0 {
		return h.generation, 0
	}
	return generation, pid
}

// stamp tells the file that a copy was started from from one that has replaced it.
type stamp struct {
	Device, Inode uint64
	Size, Changed int64
}

func stampOf(path string) (stamp, error) {
	var stat unix.Stat_t
	if err := unix.Stat(path, &stat); err != nil {
		return stamp{}, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return stamp{uint64(stat.Dev), stat.Ino, stat.Size, unix.TimespecToNsec(stat.Mtim)}, nil
}

// binary is about the file that the next copy is started from.
func (h *Holder) binary() handoff.BinaryStatus {
	path, err := exec.LookPath(h.opt.Args[0])
	if err != nil {
		return handoff.BinaryStatus{Path: h.opt.Args[0], Fault: err.Error()}
	}
	b := handoff.BinaryStatus{Path: path}
	now, err := stampOf(path)
	if err != nil {
		b.Fault = err.Error()
		return b
	}
	for _, w := range h.workers {
		if w.main != nil && w.main.file != (stamp{}) && w.main.file != now {
			b.Changed = true
		}
	}
	return b
}

// service is the holder's state in the words of the control socket.
func (h *Holder) service() handoff.ServiceStatus {
	s := handoff.ServiceStatus{
		Schema: handoff.StatusSchema, Kind: "run", PID: os.Getpid(), Phase: h.phase(),
		Started: h.began, Uptime: time.Since(h.began).Seconds(), Binary: h.binary(),
		Listeners: []handoff.ListenerStatus{}, Draining: []handoff.DrainingStatus{},
		Upgrades: append([]handoff.UpgradeRecord{}, h.upgrades...),
	}
	s.Generation, _ = h.serves()
	for _, socket := range h.opt.Sockets {
		l := handoff.ListenerStatus{Name: socket.Name}
		if socket.Addr != nil {
			l.Network, l.Address = socket.Addr.Network(), socket.Addr.String()
		}
		s.Listeners = append(s.Listeners, l)
	}
	for i, w := range h.workers {
		in := handoff.WorkerStatus{Worker: i + 1, Phase: w.machine.phase.String(), Crashes: w.backoff.crashes}
		if c := w.main; c != nil {
			in.Generation, in.PID, in.Started, in.Said = c.generation, c.pid, c.began, c.said
		}
		s.Workers = append(s.Workers, in)
	}
	if r := h.roll; r != nil && r.step != "" {
		s.Successor = &handoff.SuccessorStatus{Generation: h.generation, PID: r.pid, Step: r.step, Since: r.since}
		if c := h.workers[r.next].next; c != nil {
			s.Successor.Said = c.said
		}
	}
	for c := range h.leaving {
		s.Draining = append(s.Draining, handoff.DrainingStatus{Generation: c.generation, PID: c.pid, Deadline: c.deadline})
	}
	return s
}

// phase is one of handoff.ServiceStatus.
func (h *Holder) phase() string {
	if h.stopping {
		return "stopping"
	}
	phase := "serving"
	for _, w := range h.workers {
		switch w.machine.phase {
		case phaseIdle, phaseStarting, phaseBackoff:
			return "starting"
		case phaseProbation:
			phase = "probation"
		}
	}
	if h.roll != nil && phase == "serving" {
		return "upgrading"
	}
	return phase
}
