package handoff_test

import (
	"context"
	"log"

	"github.com/handoff-dev/handoff/handoff"
)

// A program tells its manager that it is ready and keeps the watchdog quiet.
// Without a manager all of it does nothing.
func ExampleNotifier() {
	manager, err := handoff.OpenNotifier()
	if err != nil {
		log.Fatal(err)
	}
	defer manager.Close()
	interval, err := handoff.WatchdogInterval()
	if err != nil {
		log.Fatal(err)
	}
	if err := manager.Notify(handoff.Ready, handoff.Status("listening on :8080")); err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go manager.Watchdog(ctx, interval, func(context.Context) error { return nil })
}
