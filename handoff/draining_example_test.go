package handoff_test

import (
	"context"
	"log"
	"time"

	"github.com/handoff-dev/handoff/handoff"
)

// A worker beside the servers ends when this generation hands over or stops, not when Run
// returns: the successor has a worker of its own.
func ExampleUpgrader_Draining() {
	up, err := handoff.New(handoff.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer up.Close()

	serving, handedOver := context.WithCancel(context.Background())
	defer handedOver()
	go func() {
		<-up.Draining()
		handedOver()
	}()
	worked := make(chan struct{})
	go func() { // or errgroup.WithContext(serving)
		defer close(worked)
		work(serving)
	}()

	if err := up.Run(context.Background()); err != nil {
		log.Fatal(err)
	}
	<-worked
}

func work(ctx context.Context) {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-tick.C: // one piece of work
		case <-ctx.Done():
			return
		}
	}
}
