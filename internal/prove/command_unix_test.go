//go:build unix

package prove

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func fifo(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestACommandThatTakesTooLongIsKilledWithAllThatItHasStarted(t *testing.T) {
	t.Parallel()
	name := fifo(t)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	ended := make(chan error, 1)
	go func() { // the fifo's end is that of all who can write to it
		f, err := os.Open(name)
		if err == nil {
			_, err = io.ReadAll(f)
			f.Close()
		}
		ended <- err
	}()
	out := runCommand(ctx, "sleep 61 >"+name+" & wait")
	if out.err == nil || !strings.Contains(out.err.Error(), "process group") || out.code != -1 {
		t.Errorf("%+v", out)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Error("what the command has started is still there")
	}
}

func TestWhatACommandLeavesRunningIsNeitherWaitedForNorKilled(t *testing.T) {
	t.Parallel()
	name := fifo(t)
	// The one that is left inherits the command's output.
	out := runCommand(t.Context(), "echo started; { cat "+name+"; echo >"+name+".done; } &")
	if out.err != nil || out.output != "started" || out.took > 20*time.Second {
		t.Fatalf("%+v", out)
	}
	if err := os.WriteFile(name, []byte("alive"), 0); err != nil { // waits for its reader
		t.Fatal(err)
	}
	for _, err := os.Stat(name + ".done"); err != nil; _, err = os.Stat(name + ".done") {
		if !sleep(t.Context(), time.Millisecond) {
			t.Fatal("it is gone")
		}
	}
}

func TestACommandsStatusAndTheEndOfItsOutputAreKept(t *testing.T) {
	t.Parallel()
	out := runCommand(t.Context(), "seq 100000; echo the end >&2; exit 9")
	if out.code != 9 || len(out.output) > maxOutput || !strings.HasSuffix(out.output, "\nthe end") {
		t.Errorf("%d, %q", out.code, out.output)
	}
}
