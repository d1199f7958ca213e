package handoff

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/handoff-dev/handoff/handoff/internal/startdir"
)

// ErrNoPreflight: Options.Preflight is not set, so there is nothing to check by.
var ErrNoPreflight = errors.New("handoff: this service has no check command (Options.Preflight)")

// Preflight runs the check command of Options.Preflight on the file that an upgrade
// would start now, and nothing else. An error is an [*UpgradeError] with the phase
// "preflight" and the command's output, [ErrNoPreflight], [ErrWouldEndService], or
// [ErrUpgradeInProgress] while another call runs.
func (u *Upgrader) Preflight(ctx context.Context) error {
	if u.opts.Preflight == nil {
		return ErrNoPreflight
	}
	if err := u.refusal(); err != nil {
		return err
	}
	if !u.checking.TryLock() {
		return fmt.Errorf("%w: its check command runs", ErrUpgradeInProgress)
	}
	defer u.checking.Unlock()
	ctx, cancel := context.WithTimeoutCause(ctx, u.opts.ReadyTimeout, ErrTimeout)
	defer cancel()
	output, err := u.check(ctx)
	if err == nil {
		return nil
	}
	return &UpgradeError{Phase: "preflight", Err: err, Output: output}
}

// preflightWait is how long a check command that has ended, or was killed, may keep
// its output open by its children.
const preflightWait = time.Second

// check runs the check command, and returns the end of its output if it fails. It has
// no descriptor but the standard ones, and no variable of the protocol: it is not
// started to serve.
func (u *Upgrader) check(ctx context.Context) (output string, err error) {
	as := u.command()
	cmd := exec.CommandContext(ctx, as.Path)
	cmd.Args = append([]string{as.Path}, u.opts.Preflight...)
	if len(as.Args) > 0 {
		cmd.Args[0] = as.Args[0]
	}
	cmd.Env = withoutManager(exportEnv(as.Env, nil))
	cmd.Dir = as.Dir
	cmd.WaitDelay = preflightWait
	out := &lastBytes{most: maxOutput}
	cmd.Stdout, cmd.Stderr = out, out
	err = cmd.Run()
	if fault := startdir.Fault(cmd.Dir, err); fault != nil && cmd.Process == nil {
		err = fault
	}
	switch {
	case err == nil, errors.Is(err, exec.ErrWaitDelay): // it has succeeded, and left something behind
		return "", nil
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	}
	return out.String(), fmt.Errorf("the check command %q failed: %w", strings.Join(cmd.Args, " "), err)
}

// withoutManager takes out what would have the program speak to the service manager.
func withoutManager(env []string) []string {
	out := make([]string, 0, len(env))
	for _, entry := range env {
		if !strings.HasPrefix(entry, "NOTIFY_SOCKET=") && !strings.HasPrefix(entry, "WATCHDOG_") {
			out = append(out, entry)
		}
	}
	return out
}

// lastBytes keeps the end of what is written to it.
type lastBytes struct {
	mu   sync.Mutex
	most int
	buf  bytes.Buffer
}

func (l *lastBytes) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf.Write(p[max(0, len(p)-2*l.most):])
	if over := l.buf.Len() - 2*l.most; over > 0 {
		l.buf.Next(over)
	}
	return len(p), nil
}

func (l *lastBytes) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return tail(strings.TrimRight(l.buf.String(), "\n"), l.most)
}
