package prove

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// outcome is what came of an upgrade's command.
type outcome struct {
	took   time.Duration
	code   int    // -1: killed by a signal, or not started
	output string // its last few kilobytes
	err    error  // nil: exit status 0
}

const maxOutput = 4 << 10

// runCommand runs command by the shell and waits for the shell's end. What it
// leaves behind is left alone then: that may be the service. When ctx ends
// first, the command's process group is killed.
func runCommand(ctx context.Context, command string) (out outcome) {
	out.code = -1
	// A file and not a pipe: a service that the command starts keeps it open, and
	// would have to be waited for.
	file, err := os.CreateTemp("", "handoff-prove-")
	if err != nil {
		out.err = err
		return out
	}
	defer os.Remove(file.Name())
	defer file.Close()

	name, args := shell(command)
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = file, file
	ownGroup(cmd)
	began := time.Now()
	if out.err = cmd.Start(); out.err != nil {
		return out
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case out.err = <-ended:
	case <-ctx.Done():
		killGroup(cmd)
		<-ended
		out.err = ctx.Err()
	}
	out.took = time.Since(began)
	out.code = cmd.ProcessState.ExitCode()
	out.output = tail(file)
	switch {
	case errors.Is(out.err, context.DeadlineExceeded):
		out.err = fmt.Errorf("not done after %v, and killed with its process group", out.took.Round(time.Millisecond))
	case errors.Is(out.err, context.Canceled):
		out.err = errors.New("interrupted, and killed with its process group")
	}
	return out
}

func tail(file *os.File) string {
	info, err := file.Stat()
	if err != nil {
		return ""
	}
	from := max(0, info.Size()-maxOutput)
	text, err := io.ReadAll(io.NewSectionReader(file, from, maxOutput))
	if err != nil {
		return ""
	}
	return strings.ToValidUTF8(strings.TrimSpace(string(text)), "?")
}
