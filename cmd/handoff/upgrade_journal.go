package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/handoff-dev/handoff/handoff"
	"github.com/handoff-dev/handoff/internal/systemctl"
)

// journalOf returns what a successor that failed has written to the journal last, if
// the service is one of systemd's and this user may read it.
func journalOf(ctx context.Context, s service, u handoff.UpgradeRecord) string {
	if u.PID == 0 || s.unit == "" && unitOf(s.pid) == "" {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "journalctl", "--quiet", "--no-pager", "--output=cat", "--lines=10",
		fmt.Sprintf("--since=@%d", u.Began.Unix()), fmt.Sprintf("_PID=%d", u.PID))
	text, _, err := systemctl.Output(cmd, 64<<10) // one line may be of any length
	if err != nil && !errors.Is(err, systemctl.ErrTooMuch) {
		return ""
	}
	return strings.TrimRight(string(text), "\n")
}
