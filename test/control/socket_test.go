//go:build linux

package control

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/handoff-dev/handoff/handoff"
	"github.com/handoff-dev/handoff/test/internal/graceful"
	"github.com/handoff-dev/handoff/test/internal/proctest"
)

func TestAnUpgradeByTheSocketIsAnsweredWhenItIsCommittedAndTheSocketGoesOn(t *testing.T) {
	t.Parallel()
	s := start(t)
	first := s.status()
	if first.Generation != 1 || first.PID != s.Main() || first.Phase != "serving" || first.Version != "1" || first.Schema != handoff.StatusSchema || first.Binary.Changed {
		t.Fatalf("the first status is %+v", first)
	}
	if info, err := os.Stat(s.socket); err != nil || info.Mode() != os.ModeSocket|0o600 {
		t.Errorf("the socket is %v (%v)", info.Mode(), err)
	}
	before, err := os.Stat(s.socket)
	if err != nil {
		t.Fatal(err)
	}
	for generation := 2; generation <= 4; generation++ {
		s.Install(graceful.Build(t, fmt.Sprint(1+generation%2)))
		if !s.status().Binary.Changed {
			t.Error("the status does not say that the file was replaced")
		}
		code, a := s.upgrade("")
		if code != 200 || a.Outcome != "committed" || a.Generation != generation || a.PID != s.Main() || a.Upgrade == nil || a.Upgrade.To != generation {
			t.Fatalf("upgrade to %d: %d %+v", generation, code, a)
		}
		// No waiting: who was answered finds the new one.
		st := s.status()
		if st.Generation != generation || st.PID != a.PID || st.Version != fmt.Sprint(1+generation%2) || len(st.Upgrades) != generation-1 {
			t.Fatalf("after the upgrade to %d the status is %+v", generation, st)
		}
	}
	if after, err := os.Stat(s.socket); err != nil || !os.SameFile(before, after) {
		t.Errorf("the socket was not handed on (%v)", err)
	}
	var names []string
	proctest.Until(t, "the history has all phases", func() error {
		names = nil
		for _, u := range s.status().Upgrades {
			for _, p := range u.Phases {
				names = append(names, fmt.Sprint(u.From, p.Name))
			}
		}
		want := []string{}
		for from := 1; from <= 3; from++ {
			for _, p := range []string{"start", "ready", "probation", "commit", "drain"} {
				want = append(want, fmt.Sprint(from, p))
			}
		}
		if !slices.Equal(names, want) {
			return fmt.Errorf("it is %v, want %v", names, want)
		}
		return nil
	})
	if code, text, err := s.ask("POST", "/v1/stop", ""); code != 202 || err != nil {
		t.Errorf("POST /v1/stop: %d %s (%v)", code, text, err)
	}
	s.Gone()
	if err := missing(s.socket); err != nil {
		t.Error(err)
	}
}

func TestAFailedUpgradeIsAnsweredWithItsCauseAndRemembered(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.Install(graceful.Faulty(t, "start"))
	code, a := s.upgrade(`{"unknown": [1]}`)
	if code != 500 || a.Outcome != "failed" || a.Generation != 1 || !strings.Contains(a.Message, "exit status 3") {
		t.Errorf("the answer is %d %+v", code, a)
	}
	if !strings.Contains(a.Output, "faulty: failing at the start") {
		t.Errorf("the successor's stderr is not in the answer: %q", a.Output)
	}
	s.Install(graceful.Build(t, "2"))
	if code, a := s.upgrade(""); code != 200 {
		t.Fatalf("the next upgrade: %d %+v", code, a)
	}
	all := s.status().Upgrades
	if len(all) != 2 || all[0].Outcome != "failed" || all[0].FailedIn != "ready" || all[0].Cause != "exit status 3" || all[1].Outcome != "committed" {
		t.Errorf("the history is %+v", all)
	}
	s.Stop()
}

func TestTheProgressOfAnUpgradeIsStreamedOnRequest(t *testing.T) {
	t.Parallel()
	s := start(t, "-preflight")
	code, text, err := s.ask("POST", "/v1/upgrade", "", "application/jsonl")
	if code != 200 || err != nil {
		t.Fatalf("%d %s (%v)", code, text, err)
	}
	s.Adopt(s.Main())
	var what []string
	for _, e := range lines[event](t, bytes.NewReader(text)) {
		what = append(what, e.Type+e.Step+e.Outcome)
	}
	want := []string{"steppreflight", "stepstart", "stepready", "stepprobation", "stepcommit", "committed", "handed_over", "resultcommitted"}
	if !slices.Equal(what, want) {
		t.Errorf("the stream is %v, want %v", what, want)
	}
	s.Stop()
}

func TestEventsEndWithTheHandOverAndGoOnAtTheSuccessor(t *testing.T) {
	t.Parallel()
	s := start(t)
	follow := func() (*bytes.Buffer, chan struct{}) {
		resp, err := s.client.Get("http://service/v1/events")
		if err != nil {
			t.Fatal(err)
		}
		var buf bytes.Buffer
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer resp.Body.Close()
			buf.ReadFrom(resp.Body)
		}()
		return &buf, done
	}
	buf, done := follow()
	s.upgrade("")
	<-done
	all := lines[handoff.Event](t, buf)
	if len(all) == 0 || all[len(all)-1].Type != "handed_over" {
		t.Fatalf("the events are %+v", all)
	}
	buf, done = follow()
	s.Install(graceful.Faulty(t, "before-ready"))
	s.upgrade("")
	s.Stop()
	<-done
	var types []string
	for _, e := range lines[handoff.Event](t, buf) {
		if e.Generation != 2 {
			t.Errorf("an event of generation %d: %+v", e.Generation, e)
		}
		types = append(types, e.Type)
	}
	if !slices.Contains(types, "failed") || types[len(types)-1] != "stopping" {
		t.Errorf("the successor's events are %v", types)
	}
}

func TestAnUpgradeThatTakesTooLongForItsClientIsGivenUp(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.Install(graceful.Faulty(t, "hang"))
	code, a := s.upgrade(`{"timeout_ms": 200}`)
	if code != 504 || a.Outcome != "timed_out" || a.PID != s.Main() {
		t.Errorf("the answer is %d %+v", code, a)
	}
	if st := s.status(); st.Generation != 1 || st.Phase != "serving" {
		t.Errorf("the status is %+v", st)
	}
	s.Stop()
}

func TestASecondUpgradeIsRefusedWhileOneIsUnderWay(t *testing.T) {
	t.Parallel()
	s := start(t, "-ready-delay", "1s")
	done := make(chan string, 1)
	go func() {
		_, text, err := s.ask("POST", "/v1/upgrade", "")
		done <- fmt.Sprint(string(text), err)
	}()
	proctest.Until(t, "the upgrade is under way", func() error {
		st, err := s.tryStatus()
		if err == nil && (st.Phase != "upgrading" || st.Successor == nil || st.Successor.Step != "ready" || st.Successor.PID == 0) {
			err = fmt.Errorf("the status is %+v", st)
		}
		return err
	})
	if code, a := s.upgrade(""); code != 409 || a.Outcome != "refused" || a.Code != "in_progress" {
		t.Errorf("the second: %d %+v", code, a)
	}
	if first := <-done; !strings.Contains(first, `"committed"`) {
		t.Errorf("the first: %s", first)
	}
	s.Adopt(s.Main())
	s.Stop()
}

func TestAFailedCheckRefusesTheUpgradeWithItsOutput(t *testing.T) {
	t.Parallel()
	s := start(t, "-preflight")
	if code, a := s.upgrade(`{"check": true}`); code != 200 || a.Outcome != "checked" {
		t.Errorf("a check of a good version: %d %+v", code, a)
	}
	s.Install(graceful.Faulty(t, "check"))
	for _, body := range []string{"", `{"check": true}`} {
		code, a := s.upgrade(body)
		if code != 500 || a.Outcome != "failed" || !strings.Contains(a.Output, "the configuration is wrong") || !strings.Contains(a.Message, "preflight") {
			t.Errorf("%q: %d %+v", body, code, a)
		}
	}
	if st := s.status(); len(st.Upgrades) != 1 || st.Upgrades[0].FailedIn != "preflight" || st.Upgrades[0].PID != 0 {
		t.Errorf("the history is %+v", st.Upgrades)
	}
	s.Stop()

	s = start(t)
	if code, a := s.upgrade(`{"check": true}`); code != 409 || a.Code != "no_preflight" {
		t.Errorf("without a check command: %d %+v", code, a)
	}
	s.Stop()
}

func TestTheStatusCountsConnectionsByListenerAndTellsWhatADrainWaitsFor(t *testing.T) {
	t.Parallel()
	s := start(t)
	for range 3 {
		c, err := s.KeepAlive()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	long, err := net.Dial("tcp", s.HTTP)
	if err != nil {
		t.Fatal(err)
	}
	defer long.Close()
	fmt.Fprint(long, "GET /stream?ms=3000 HTTP/1.1\r\nHost: localhost\r\n\r\n")
	if _, err := long.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	http := func(st handoff.ServiceStatus) handoff.ListenerStatus {
		i := slices.IndexFunc(st.Listeners, func(l handoff.ListenerStatus) bool { return l.Name == "http" })
		if i < 0 || st.Listeners[i].Open == nil {
			t.Fatalf("the status is %+v", st)
		}
		return st.Listeners[i]
	}
	st := s.status()
	if l := http(st); l.Accepted != 4 || *l.Open != 4 || l.Address != s.HTTP || st.Requests != 4 || st.Connections != 4 {
		t.Errorf("the first generation has %+v, %d requests on %d connections, want 4 of each", l, st.Requests, st.Connections)
	}
	s.upgrade("")
	proctest.Until(t, "the connections are where they belong", func() error {
		st := s.status()
		l := http(st)
		if len(st.Draining) != 1 || *l.Open != 3 {
			return fmt.Errorf("the status is %+v, open %d", st, *l.Open)
		}
		d := st.Draining[0]
		if d.Generation != 1 || d.PID != s.First.Pid() || d.Connections != 1 || d.Since.IsZero() || d.Deadline.Sub(d.Since) != 30*time.Second ||
			!slices.Equal(d.Listeners, []handoff.ListenerDrain{{Name: "http", Address: s.HTTP, Open: 1}}) {
			return fmt.Errorf("draining is %+v", d)
		}
		return nil
	})
	s.Stop()
}

func TestNoOtherProgramGetsTheControlSocket(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.Install("/bin/true")
	// What it is given it is given before it ends.
	other := s.Path + ".sh"
	if err := os.WriteFile(other, []byte("#!/bin/sh\necho \"names are $LISTEN_FDNAMES\" >&2\nls -l /proc/$$/fd >&2\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(other, s.Path); err != nil {
		t.Fatal(err)
	}
	if code, a := s.upgrade(""); code != 500 || !strings.Contains(a.Output, "names are http:unix:https:udp\n") {
		t.Errorf("%d %+v", code, a)
	}
	if st := s.status(); len(st.Listeners) != 4 {
		t.Errorf("the status shows the listeners %+v", st.Listeners)
	}
	s.Stop()
}

func TestAStaleSocketIsReplacedAndALiveOneIsNot(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.First.Cmd.Process.Kill()
	<-s.First.Exited()
	if _, err := os.Stat(s.socket); err != nil {
		t.Fatal(err)
	}
	again := &service{Server: graceful.New(t, ""), socket: s.socket, client: s.client}
	again.Install(graceful.Build(t, "1"))
	again.Run(proctest.Command(again.Path, again.flags()...))
	if st := again.status(); st.PID != again.Main() {
		t.Errorf("the status is %+v", st)
	}
	third := graceful.New(t, "")
	p := proctest.Start(t, proctest.Command(again.Path, append(third.Flags(), "-control", s.socket)...))
	if err := p.Wait(); err == nil || !strings.Contains(p.Output(), "in use by another process") {
		t.Errorf("a second service with the same socket: %v: %s", err, p.Output())
	}
	if st := again.status(); st.PID != again.Main() {
		t.Errorf("the status is %+v", st)
	}
	again.Stop()
}

func TestACheckThatHangsIsEndedWithTheUpgrade(t *testing.T) {
	t.Parallel()
	s := start(t, "-preflight", "-ready-timeout", "1s")
	s.Install(graceful.Faulty(t, "hang-check"))
	if code, a := s.upgrade(`{"timeout_ms": 300}`); code != 504 || a.Outcome != "timed_out" || a.Upgrade.FailedIn != "preflight" {
		t.Errorf("given up: %d %+v", code, a)
	}
	if code, a := s.upgrade(""); code != 500 || a.Outcome != "failed" || !strings.Contains(a.Message, "not ready in time") || a.Upgrade.FailedIn != "preflight" {
		t.Errorf("timed out: %d %+v", code, a)
	}
	if code, a := s.upgrade(`{"check": true}`); code != 500 || !strings.Contains(a.Output, "faulty: thinking") {
		t.Errorf("only checked: %d %+v", code, a)
	}
	go s.ask("POST", "/v1/upgrade", "")
	proctest.Until(t, "the check runs", func() error {
		st, err := s.tryStatus()
		if err == nil && (st.Successor == nil || st.Successor.Step != "preflight") {
			err = fmt.Errorf("the status is %+v", st)
		}
		return err
	})
	s.Stop() // and nothing is left behind, see proctest
}
