//go:build !unix

package handoff

import (
	"context"
	"errors"
	"os/exec"
	"testing"
)

// Where there is no fork and exec, a server is served and stopped, and not upgraded.
func TestAServerWithoutUpgradesListensServesAndStops(t *testing.T) {
	u := newUpgrader(t, Options{})
	ln := listenLocal(t, u)
	_, srv := answering("hello")
	end := served(t, u, Serve(srv, ln))

	c := rawDial(t, ln)
	c.send(t)
	if text, _ := c.answer(t); text != "hello" {
		t.Errorf("the server says %q", text)
	}
	if err := u.Upgrade(context.Background()); !errors.Is(err, ErrUnsupported) || !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Upgrade: %v, want ErrUnsupported", err)
	}
	c.send(t) // a refused upgrade changes nothing
	if text, _ := c.answer(t); text != "hello" {
		t.Errorf("after the refusal the server says %q", text)
	}
	u.Stop()
	if err := until(t, end, "the end of Run"); err != nil {
		t.Error(err)
	}
}

func TestExportIsUnsupported(t *testing.T) {
	if err := Export(exec.Command("anything")); !errors.Is(err, ErrUnsupported) {
		t.Errorf("got %v", err)
	}
}
