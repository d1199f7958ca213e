//go:build unix && !small

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/handoff-dev/handoff/handoff"
	"github.com/handoff-dev/handoff/internal/doctor"
	"github.com/handoff-dev/handoff/internal/inspect"
	"github.com/handoff-dev/handoff/internal/load"
	"github.com/handoff-dev/handoff/internal/prove"
	"github.com/handoff-dev/handoff/internal/terminal"
)

// The seeds: a title that is set, a screen that is cleared by one byte, by two and by
// UTF-8's two, a line that covers another, one that is read backwards, one that pretends to
// be an error's, what is no UTF-8, and what is plain.
var acting = []string{
	"\x1b]0;title\x07", "\x1b[2J", "\x9b2J", "\u009b2J", "over\rwritten", "exe\u202etxt.", "\u2066\u2069", "line\nerror: forged",
	"\xff\xfe", "\x7f\x00\u2028", "plain", "größe 世界", "%s%n", "",
}

// FuzzNothingFromOutsideActsOnTheTerminal has each command print a text from outside in
// each place where one comes in.
func FuzzNothingFromOutsideActsOnTheTerminal(f *testing.F) {
	for _, s := range acting {
		f.Add(s)
	}
	text := new(string) // what the service says
	socket := talkingService(f, text)
	f.Fuzz(func(t *testing.T, s string) {
		*text = s
		for name, print := range printers(socket) {
			var out strings.Builder
			print(&out, s)
			if got := out.String(); terminal.Acts(got) {
				t.Errorf("%s prints %q of %q", name, got, s)
			}
		}
	})
}

// talkingService answers on a control socket, with text in all places.
func talkingService(t testing.TB, text *string) (socket string) {
	dir, err := os.MkdirTemp("", "outside-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket = filepath.Join(dir, "s")
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, v any) {
		line, _ := json.Marshal(v)
		w.Write(append(line, '\n'))
	}
	mux.HandleFunc("GET /v1/status", func(w http.ResponseWriter, _ *http.Request) { answer(w, statusOf(*text)) })
	mux.HandleFunc("POST /v1/upgrade", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, handoff.Event{Schema: handoff.StatusSchema, Type: "step", Step: *text})
		answer(w, handoff.UpgradeAnswer{Schema: handoff.StatusSchema, Type: "result", Outcome: "failed", PID: 1, Message: *text, Output: *text,
			Upgrade: &handoff.UpgradeRecord{Cause: *text, Said: *text, Output: *text}})
	})
	server := &http.Server{Handler: mux}
	go server.Serve(ln)
	t.Cleanup(func() { server.Close() })
	return socket
}

func statusOf(s string) handoff.ServiceStatus {
	return handoff.ServiceStatus{
		Schema: handoff.StatusSchema, Generation: 1, PID: 1, Phase: s, Version: s,
		Binary:    handoff.BinaryStatus{Path: s, Fault: s},
		Successor: &handoff.SuccessorStatus{Step: s},
		Listeners: []handoff.ListenerStatus{{Name: s, Network: s, Address: s}},
		Draining:  []handoff.DrainingStatus{{Listeners: []handoff.ListenerDrain{{Name: s}}}},
		Workers:   []handoff.WorkerStatus{{PID: 1, Phase: s}},
		Upgrades:  []handoff.UpgradeRecord{{Outcome: "failed", FailedIn: s, Cause: s}, {Outcome: s, Phases: []handoff.PhaseTime{{Name: s}}}},
	}
}

// printers are the places where a text from outside reaches a terminal. None does anything,
// whatever the text.
func printers(socket string) map[string]func(out io.Writer, s string) {
	command := func(args ...string) func(io.Writer, string) {
		return func(out io.Writer, s string) {
			args := append([]string(nil), args...)
			for i, a := range args {
				args[i] = strings.ReplaceAll(a, "TEXT", strings.ReplaceAll(s, "\x00", "?"))
			}
			run(context.Background(), args, strings.NewReader(""), out, out)
		}
	}
	return map[string]func(io.Writer, string){
		"status":                command("status", "--socket", socket),
		"status --json":         command("status", "--json", "--socket", socket),
		"upgrade":               command("upgrade", "--socket", socket),
		"upgrade --json":        command("upgrade", "--json", "--socket", socket),
		"an error with a path":  command("status", "--socket", "/nonexistent/TEXT"),
		"an error of a flag":    command("--TEXT"),
		"an unknown command":    command("no-TEXT"),
		"a wrong value":         command("upgrade", "--pid", "no-TEXT"),
		"inspect, a PID file":   command("inspect", "--pid", "/nonexistent/TEXT"),
		"exec, a program":       command("exec", "-l", "8080", "--", "/nonexistent/TEXT"),
		"exec, a socket":        command("exec", "-l", "none::TEXT", "--", "/nonexistent/app"),
		"run, a socket":         command("run", "-l", "none::TEXT", "--", "/nonexistent/app"),
		"run, a way":            command("run", "--ready", "no-TEXT", "--", "/nonexistent/app"),
		"prove, a URL":          command("prove", "--url", "none://TEXT"),
		"unit":                  command("unit", "--systemd", "252", "--", "/nonexistent/app", "TEXT"),
		"unit, a program":       command("unit", "--systemd", "252", "--", "/nonexistent/TEXT"),
		"unit, a description":   command("unit", "--systemd", "252", "--description", "TEXT", "--", "/nonexistent/app"),
		"unit, a socket":        command("unit", "--systemd", "252", "--socket", "/run/TEXT", "--", "/nonexistent/app"),
		"the live view":         func(out io.Writer, s string) { printLive(out, s) },
		"the phases":            func(out io.Writer, s string) { printPhases(out, s) },
		"inspect --pid":         func(out io.Writer, s string) { printProcess(out, processOf(s), true) },
		"inspect --pid --json":  func(out io.Writer, s string) { printJSON(out, processOf(s), true) },
		"inspect":               func(out io.Writer, s string) { printPassed(out, passedOf(s)) },
		"inspect --json":        func(out io.Writer, s string) { printJSON(out, passedOf(s), true) },
		"doctor":                func(out io.Writer, s string) { examineSaying(out, s, false) },
		"doctor --json":         func(out io.Writer, s string) { examineSaying(out, s, true) },
		"the log of run":        func(out io.Writer, s string) { logLines(out)(s) },
		"prove's report":        func(out io.Writer, s string) { reportOf(s).WriteText(out) },
		"prove's report, JSON":  func(out io.Writer, s string) { reportOf(s).WriteJSON(out) },
		"the progress":          func(out io.Writer, s string) { newProgress(out, func() {}).line("%s", s) },
		"the log of exec":       func(out io.Writer, s string) { (&activation{errs: out}).say("%v", errors.New(s)) },
		"the end of an upgrade": func(out io.Writer, s string) { fmt.Fprint(out, indented(s)) },
	}
}

func printLive(out io.Writer, s string) {
	m := watchModel{client: &controlClient{path: s}, width: 80, height: 24}
	fmt.Fprintln(out, strings.Join(m.lines(), "\n"))
	m.take(seenMsg{status: statusOf(s), at: time.Now()})
	m.take(seenMsg{err: errors.New(s)})
	fmt.Fprintln(out, strings.Join(m.lines(), "\n"))
}

func printPhases(out io.Writer, s string) {
	p := phases{w: out}
	p.event(handoff.Event{Type: "step", Step: s})
}

func processOf(s string) *inspect.Process {
	return &inspect.Process{Name: s, ParentName: s, Unit: s, Executable: s, ExecutableState: s, Environment: map[string]string{"LISTEN_FDNAMES": s, "LISTEN_" + s: s},
		Descriptors: []inspect.Descriptor{{Name: s, Kind: s, Address: s, Peer: s, State: s, Flags: []string{s}}},
		Others:      []inspect.Other{{Name: s, Relation: inspect.Relation(s)}}}
}

func passedOf(s string) passed {
	return passed{Environment: map[string]string{"LISTEN_FDNAMES": s, "LISTEN_PID": s}, Error: &environmentError{Value: s, Reason: s},
		Sockets: []passedSocket{{Name: s, Kind: s, Address: s, Peer: s, State: s, Flags: []string{s}}}}
}

// examineSaying has systemd say a text wherever it says one.
func examineSaying(out io.Writer, s string, asJSON bool) {
	say := func(_ context.Context, args ...string) (string, error) {
		if args[0] == "--version" {
			return "systemd 252 (252)\n", nil
		}
		var text strings.Builder
		for _, name := range doctor.ServiceProperties {
			fmt.Fprintf(&text, "%s=%s\n", name, s)
		}
		return text.String() + "Id=app.service\nLoadState=loaded\nMainPID=0\n", nil
	}
	cmd := &cobra.Command{}
	cmd.SetOut(out)
	cmd.SetContext(context.Background())
	err := runDoctor(cmd, doctorOptions{json: asJSON, drain: time.Second}, []string{"app"}, doctor.System{Systemctl: say, Root: "/nonexistent"})
	fmt.Fprintln(terminal.NewWriter(out), err) // as run does
}

func reportOf(s string) *prove.Report {
	return &prove.Report{Verdict: prove.Verdict(s), Summary: s, URL: s, Command: s, Notes: []string{s},
		Shapes:   []prove.Shape{{Name: s}},
		Upgrades: []prove.Upgrade{{Output: s, Error: s, Answer: s}, {N: 2, Error: "x" + s, Output: s}},
		Losses:   []prove.Loss{{Shape: s, Kind: load.Reset, Count: 1, Why: "a" + s, Error: s}},
		Failures: []prove.Failure{{}}}
}

// TestALineFromOutsideStaysOne has what pretends to be a line of ours marked as a part of
// another.
func TestALineFromOutsideStaysOne(t *testing.T) {
	t.Parallel()
	const forged = "x\nerror: forged"
	var out strings.Builder
	printProcess(&out, processOf(forged), true)
	examineSaying(&out, forged, false)
	out.WriteString(statusText(statusOf(forged), time.Now()))
	for line := range strings.Lines(out.String()) {
		if strings.HasPrefix(line, "error: forged") {
			t.Errorf("there is a line %q", line)
		}
	}
}
