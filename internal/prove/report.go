package prove

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/handoff-dev/handoff/internal/load"
)

// Version is that of the report as JSON. Fields may be added to it; one that
// goes, or means something else, makes another version.
const Version = 1

// Verdict is what a report comes to.
type Verdict string

// The verdicts.
const (
	Proven        Verdict = "proven"         // upgraded as often as was asked, and nothing failed
	Failed        Verdict = "failed"         // requests failed
	UpgradeFailed Verdict = "upgrade-failed" // no request failed, but an upgrade did
	NotMeasured   Verdict = "not-measured"   // the service couldn't be reached at the start
	Interrupted   Verdict = "interrupted"    // nothing failed, before all upgrades were done
	NoUpgrade     Verdict = "no-upgrade"     // nothing failed, and nobody told of an upgrade
)

// Report is what a proof found. Durations are in nanoseconds as JSON.
type Report struct {
	Version int       `json:"version"`
	Verdict Verdict   `json:"verdict"`
	Summary string    `json:"summary"` // the verdict in a sentence
	URL     string    `json:"url"`
	Command string    `json:"command,omitempty"`
	Began   time.Time `json:"began"`
	Ended   time.Time `json:"ended"`

	Rate        float64       `json:"rate"`
	Connections int           `json:"connections_per_shape"`
	Window      time.Duration `json:"window_ns"`

	Upgrades []Upgrade     `json:"upgrades,omitempty"`
	Total    load.Counters `json:"total"`
	Shapes   []Shape       `json:"shapes,omitempty"`
	Steady   load.Period   `json:"steady"`
	Around   load.Period   `json:"around"`
	// Processes answered, where they say who they are.
	Processes []load.Process `json:"processes,omitempty"`
	// Losses are the failures that have all in common but their time.
	Losses []Loss `json:"losses,omitempty"`
	// Failures are up to 1,000 of each shape.
	Failures []Failure `json:"failures,omitempty"`
	Notes    []string  `json:"notes,omitempty"`

	samples []load.Sample
}

// Shape is what came of one kind of client.
type Shape struct {
	Name string `json:"name"`
	load.Counters
	Steady load.Period `json:"steady"`
	Around load.Period `json:"around"`
}

// Upgrade is one of them.
type Upgrade struct {
	N     int       `json:"n"`
	Began time.Time `json:"began"`
	// Took is until the command had ended, and what was expected had come.
	Took     time.Duration `json:"took_ns"`
	Command  time.Duration `json:"command_ns,omitempty"`
	ExitCode int           `json:"exit_code"`
	Output   string        `json:"output,omitempty"` // the last 4 KiB
	Error    string        `json:"error,omitempty"`
	// Answer is who answered first after it, and when, where that was looked for.
	Answer      string        `json:"answer,omitempty"`
	FirstAnswer time.Duration `json:"first_answer_ns,omitempty"`
	// Noticed: nobody told of it; it was noticed by the first answer.
	Noticed bool `json:"noticed,omitempty"`
}

// Failure is a lost request.
type Failure struct {
	load.Failure
	// Upgrade is the last that had begun, 0 if none had; SinceUpgrade counts
	// from that beginning.
	Upgrade      int           `json:"upgrade"`
	SinceUpgrade time.Duration `json:"since_upgrade_ns,omitempty"`
	Why          string        `json:"why"`
}

// Loss is how many failures there were of a shape, of a kind, at a stage, with
// the least and the most time since the upgrade before them.
type Loss struct {
	Shape string        `json:"shape"`
	Kind  load.Kind     `json:"kind"`
	Stage load.Stage    `json:"stage"`
	Kept  bool          `json:"kept"`
	Count uint64        `json:"count"`
	First time.Duration `json:"first_ns"`
	Last  time.Duration `json:"last_ns"`
	Why   string        `json:"why"`
	Error string        `json:"error"` // of one of them
}

func (u *Upgrade) saw(a load.Answer) {
	if a.PID == 0 || u.Answer != "" {
		return
	}
	u.Answer, u.FirstAnswer = a.Identity, a.Time.Sub(u.Began)
	if a.Identity == "" {
		u.Answer = strconv.Itoa(a.PID)
	}
}

func (u *Upgrade) sentence() string {
	switch {
	case u.Error != "":
		return u.Error
	case u.Noticed:
		return "noticed by an answer of " + u.Answer
	case u.Answer != "":
		return fmt.Sprintf("first answer of %s after %s", u.Answer, milliseconds(u.FirstAnswer))
	case u.Command > 0:
		return fmt.Sprintf("the command took %s", milliseconds(u.Command))
	}
	return "told by hand"
}

func (r *run) notMeasured(why string) *Report {
	now := time.Now()
	return &Report{
		Version: Version, Verdict: NotMeasured, Summary: "Nothing was measured: " + why + ".", URL: r.opt.URL,
		Command: r.opt.Upgrade, Began: now, Ended: now, Rate: r.opt.Rate, Connections: r.opt.Connections, Window: r.opt.Window,
	}
}

func (r *run) report(ctx context.Context, began time.Time, cfgs []load.Config) *Report {
	all := r.clients.Stop()
	rep := &Report{
		Version: Version, URL: r.opt.URL, Command: r.opt.Upgrade, Began: began, Ended: all.Ended,
		Rate: r.opt.Rate, Connections: r.opt.Connections, Window: r.opt.Window,
		Upgrades: r.upgrades, Total: all.Counters, Steady: all.Steady, Around: all.Around,
		Processes: all.PIDs, Notes: r.notes, samples: all.Samples,
	}
	rep.recognize()
	protos := map[string]string{}
	for i, one := range r.clients {
		res := one.Stop()
		name := cfgs[i].Shape.Name
		protos[name] = cfgs[i].Target.Proto
		rep.Shapes = append(rep.Shapes, Shape{Name: name, Counters: res.Counters, Steady: res.Steady, Around: res.Around})
	}
	for _, f := range all.Errors {
		rep.addFailure(f, protos[f.Shape])
	}
	rep.judge(ctx, &r.opt)
	return rep
}

// recognize gives the upgrades after which nothing was expected the processes
// that were first seen after them, where processes say who they are.
func (rep *Report) recognize() {
	for i := range rep.Upgrades {
		u := &rep.Upgrades[i]
		for _, p := range rep.Processes { // by their first answers
			last := i+1 == len(rep.Upgrades) || p.First.Before(rep.Upgrades[i+1].Began)
			if p.First.After(u.Began) && last {
				u.saw(load.Answer{PID: p.PID, Identity: p.Identity, Time: p.First})
			}
		}
	}
}

func (rep *Report) addFailure(f load.Failure, proto string) {
	one := Failure{Failure: f, Why: why(f, proto)}
	for _, u := range rep.Upgrades {
		if !u.Began.After(f.Time) {
			one.Upgrade, one.SinceUpgrade = u.N, f.Time.Sub(u.Began)
		}
	}
	rep.Failures = append(rep.Failures, one)
	i := slices.IndexFunc(rep.Losses, func(l Loss) bool {
		return l.Shape == f.Shape && l.Kind == f.Kind && l.Stage == f.Stage && l.Kept == f.Kept
	})
	if i < 0 {
		i = len(rep.Losses)
		rep.Losses = append(rep.Losses, Loss{
			Shape: f.Shape, Kind: f.Kind, Stage: f.Stage, Kept: f.Kept,
			First: one.SinceUpgrade, Last: one.SinceUpgrade, Why: one.Why, Error: f.Error,
		})
	}
	l := &rep.Losses[i]
	l.Count++
	l.First, l.Last = min(l.First, one.SinceUpgrade), max(l.Last, one.SinceUpgrade)
}

func (rep *Report) judge(ctx context.Context, opt *Options) {
	slices.SortStableFunc(rep.Losses, func(a, b Loss) int { return cmp.Compare(b.Count, a.Count) })
	if told := uint64(len(rep.Failures)); told < rep.Total.Failed {
		rep.Notes = append(rep.Notes, fmt.Sprintf("Of %s failures %s are told one by one; all are counted.", number(rep.Total.Failed), number(told)))
	}
	if n := rep.Total.Skipped; n > 0 {
		rep.Notes = append(rep.Notes, fmt.Sprintf("%s requests were left out, because those before them had taken more than a second longer than the rate allows.", number(n)))
	}
	upgrades, wrong := len(rep.Upgrades), ""
	for _, u := range rep.Upgrades {
		if u.Error != "" && wrong == "" {
			wrong = fmt.Sprintf("upgrade %d: %s", u.N, u.Error)
		}
	}
	of := fmt.Sprintf("%s requests in %d upgrades", number(rep.Total.Requests), upgrades)
	switch {
	case rep.Total.Failed > 0:
		rep.Verdict = Failed
		rep.Summary = fmt.Sprintf("%s of %s requests failed, in %d upgrades.", number(rep.Total.Failed), number(rep.Total.Requests), upgrades)
		if wrong != "" {
			rep.Summary += " " + sentence(wrong)
		}
	case wrong != "" && ctx.Err() == nil:
		rep.Verdict, rep.Summary = UpgradeFailed, "No request failed, but "+wrong+"."
	case rep.Total.OK == 0:
		rep.Verdict, rep.Summary = NotMeasured, "Nothing was measured: not one request was answered."
	case opt.Upgrade != "" && upgrades < opt.Count || wrong != "":
		rep.Verdict, rep.Summary = Interrupted, fmt.Sprintf("Interrupted after %s, of which none failed.", of)
	case upgrades == 0:
		rep.Verdict, rep.Summary = NoUpgrade, fmt.Sprintf("None of %s requests failed, but nothing told of an upgrade.", number(rep.Total.Requests))
	default:
		rep.Verdict, rep.Summary = Proven, fmt.Sprintf("Of %s none failed.", of)
	}
}
