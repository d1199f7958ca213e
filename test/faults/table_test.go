//go:build linux

package faults

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

const tableFile = "../../docs/faults.md"

const tableHead = `# What each fault does to an upgrade

This table is written by the tests that bring each of these faults about, in real
processes and under load (` + "`test/faults`" + `). For each they assert who serves afterwards, that
no connection was refused while anybody serves, that a request was lost by nobody
but a process that died (and had accepted it), that the cause is in the log, and
in the STATUS of a service manager, that the next upgrade works, and that in the
end no process, no file, no descriptor and no abstract socket is left.

The steps: **fork**, the old generation is about to start a successor; **stage**, it is
between fork and exec; **new**, the program runs and has not said hello; **ready**, it is
about to say READY=1; **probation**; **commit**, the PID file names the successor and
nobody else knows; **committed**, it has been told; **draining**, it serves alone and the
old one has requests to answer. SIGSTOP lasts for longer than ReadyTimeout, then
comes SIGCONT.

"Nobody" is where the only process that serves was killed, or told to stop: a
service manager's Restart= is the answer to the one, and the other was asked for.
"Old or new": the successor's readiness and the end of ReadyTimeout wait side by
side for the old process to go on.

"Readopt": with Options.Readopt, by which a draining generation starts its own version
again when the main one has died. Where nobody serves in spite of it, the
one try that it has was used or has failed; "third" is the main generation after two
upgrades.

ENFILE, the system's table of open files, which can't be filled without harm to
others, is what strace makes the kernel say, to this service alone. Two tests of the library
(handoff/fullfiles_test.go) put it where strace does not come.

Faults that are no step of an upgrade, with the tests that bring them about: no descriptor is left to accept
with (handoff/fullfiles_test.go, test/chat): the loop waits and goes on. Nobody reads the log, or an environment
file does not answer (handoff/logger_test.go, test/run/deaf_test.go): signals are heard, and the service ends when
told to. The upgrade would end the service, as an init or a supervisor watches the process (test/run/deaf_test.go):
it is refused. A sender of READY=1 has ended, or is in another network namespace (test/run/deaf_test.go): it counts.

Not here: jumps of CLOCK_REALTIME. They can't matter, because
every timeout here is measured by Go's monotonic clock; a test sees to it that no
time of another kind is used.

| step | fault | to | service manager | serves afterwards | may lose what it had accepted | cause in the log | next upgrade |
|---|---|---|---|---|---|---|---|
`

// table renders all cases.
func table() string {
	supervised := make(map[string]bool)
	for _, c := range scenarios() {
		if c.manager {
			supervised[c.row("")] = true
		}
	}
	var text strings.Builder
	text.WriteString(tableHead)
	for _, c := range scenarios() {
		if c.manager {
			continue // has the same row, or the test below fails
		}
		with := "without"
		if supervised[c.row("")] {
			with = "with and without"
		}
		text.WriteString(c.row(with))
	}
	text.WriteString(tableTail)
	return text.String()
}

func (c *scenario) row(manager string) string {
	or := func(s, other string) string {
		if s == "" {
			return other
		}
		return s
	}
	cells := []string{c.step, c.fault, or(c.who, "-"), manager, c.serves, or(c.loses, "none"), or(c.cause, "-"), c.nextUpgrade()}
	return "| " + strings.Join(cells, " | ") + " |\n"
}

func TestTheTableOfFaultsListsTheseCases(t *testing.T) {
	written, err := os.ReadFile(tableFile)
	if err != nil {
		t.Fatal(err)
	}
	if string(written) != table() {
		t.Errorf("%s is not the table of these cases: run these tests with HANDOFF_TEST_LONG=1 and HANDOFF_FAULTS_UPDATE=1", tableFile)
	}
}

func TestAServiceManagerChangesNoOutcome(t *testing.T) {
	plain := make(map[string]bool)
	for _, c := range scenarios() {
		if !c.manager {
			plain[c.row("")] = true
		}
	}
	for _, c := range scenarios() {
		if c.manager && !plain[c.row("")] {
			t.Errorf("%s has no counterpart without a service manager: %s", c.name(), c.row(""))
		}
	}
}

// updateTable writes the table after a run of all cases in which none has failed.
func updateTable(t *testing.T) {
	if os.Getenv("HANDOFF_FAULTS_UPDATE") != "1" || t.Failed() {
		return
	}
	if err := os.WriteFile(tableFile, []byte(table()), 0o644); err != nil {
		t.Error(fmt.Errorf("the table: %w", err))
	}
}
