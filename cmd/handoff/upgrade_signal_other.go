//go:build !linux

package main

import (
	"context"
	"fmt"

	"github.com/handoff-dev/handoff/handoff"
	"github.com/handoff-dev/handoff/internal/systemctl"
)

// bySignal needs to look at other processes.
func bySignal(_ context.Context, _ upgradeOptions, s service, _ systemctl.Run, _ *phases) (handoff.UpgradeAnswer, error) {
	return handoff.UpgradeAnswer{}, noService(fmt.Errorf("%v can't be watched on this system", s), "name the service's control socket by --socket")
}
