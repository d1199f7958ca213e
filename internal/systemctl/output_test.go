package systemctl

import (
	"errors"
	"os/exec"
	"testing"

	"github.com/handoff-dev/handoff/internal/needed"
)

func TestACommandThatPrintsForEverIsEnded(t *testing.T) {
	t.Parallel()
	out, _, err := Output(exec.CommandContext(t.Context(), needed.Tool(t, "yes")), 1<<16)
	if !errors.Is(err, ErrTooMuch) || len(out) != 1<<16 {
		t.Errorf("%d bytes (%v)", len(out), err)
	}
	sh := needed.Tool(t, "sh")
	out, said, err := Output(exec.CommandContext(t.Context(), sh, "-c", "head -c 1000000 /dev/zero >&2; echo out; exit 3"), 1<<16)
	var ended *exec.ExitError
	if string(out) != "out\n" || len(said) != 64<<10 || !errors.As(err, &ended) {
		t.Errorf("%q, %d bytes on standard error (%v)", out, len(said), err)
	}
}
