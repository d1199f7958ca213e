package handoff

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/handoff-dev/handoff/internal/needed"
)

// On a busy machine the goroutine that accepts may be stopped just before it asks the
// kernel. It took what came after the commit then, so that the old version answered.
func TestAnUpgradeIsNotThroughWhileTheOldGenerationMayAccept(t *testing.T) {
	t.Parallel()
	needed.Tool(t, "systemd-notify")
	up, err := New(Options{
		UpgradeSignals: []os.Signal{}, StopSignals: []os.Signal{}, Probation: -1,
		Command: "/bin/sh", Args: []string{"sh", "-c", "systemd-notify --ready; exec sleep 60"},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer up.Close()
	if _, err := up.Listen("http", "tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	if err := up.Ready(); err != nil {
		t.Fatal(err)
	}
	gate := up.shared[0].gate
	if _, err := gate.wait(); err != nil { // as an accept does that is about to begin
		t.Fatal(err)
	}
	result := make(chan error, 1)
	go func() { result <- up.Upgrade(context.Background()) }()
	for paused := false; !paused; time.Sleep(time.Millisecond) {
		gate.mu.Lock()
		paused = gate.state != gateOpen
		gate.mu.Unlock()
	}
	select {
	case err := <-result:
		up.successor.cmd.Process.Kill()
		t.Fatalf("the upgrade is through, %v, and the old generation may accept", err)
	case <-time.After(50 * time.Millisecond): // far longer than a commit takes
	}
	gate.leave()
	if err := <-result; err != nil {
		t.Fatal(err)
	}
	if err := up.successor.cmd.Process.Kill(); err != nil { // it has no more to do
		t.Error(err)
	}
}
