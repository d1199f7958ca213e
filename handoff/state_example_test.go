package handoff_test

import (
	"bufio"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"sync"
	"time"

	"github.com/handoff-dev/handoff/handoff"
)

// A cache that the next generation has before it serves. A moment old is good enough,
// and an empty one is no reason not to start.
func ExampleUpgrader_Provide() {
	up, err := handoff.New(handoff.Options{})
	if err != nil {
		log.Fatal(err)
	}
	var mu sync.RWMutex
	cache := make(map[string][]byte)

	const version = 2
	st, err := up.State(context.Background(), "cache")
	switch {
	case errors.Is(err, handoff.ErrNoState), errors.Is(err, handoff.ErrStateLost):
		log.Print("starting with an empty cache: ", err)
	case err != nil:
		log.Fatal(err)
	default:
		if st.Version > version { // a downgrade; end it, the old generation serves on
			log.Fatal(st.Refuse(fmt.Errorf("this program knows versions up to %d", version)))
		}
		if err := gob.NewDecoder(st).Decode(&cache); err != nil {
			log.Fatal(st.Refuse(err))
		}
		st.Close()
	}
	err = up.Provide("cache", version, func(w io.Writer) error {
		mu.RLock()
		defer mu.RUnlock()
		return gob.NewEncoder(w).Encode(cache)
	})
	if err != nil {
		log.Fatal(err)
	}
	// up.Listen, up.Run …
}

// A number that no two generations may give out. Who has not got one when the old
// generation comes to a halt moves to the new one, and gets it there.
func ExampleUpgrader_ProvideLast() {
	up, err := handoff.New(handoff.Options{})
	if err != nil {
		log.Fatal(err)
	}
	ln, err := up.Listen("ids", "tcp", ":7001")
	if err != nil {
		log.Fatal(err)
	}
	next := 1
	turn := make(chan struct{}, 1) // holds one element while next is somebody's
	halt, release := func() { turn <- struct{}{} }, func() { <-turn }

	halt() // until the predecessor has had its last word, or there is none
	settled := up.Settled(ln)
	go func() {
		<-settled
		release()
	}()
	err = up.TakeLast("next", func(st *handoff.NamedState) error {
		_, err := fmt.Fscan(st, &next)
		return err
	})
	if err != nil {
		log.Fatal(err)
	}
	err = up.ProvideLast("next", 1, func(w io.Writer) error {
		halt() // for good, or until release
		_, err := fmt.Fprintln(w, next)
		return err
	}, release)
	if err != nil {
		log.Fatal(err)
	}
	serve := func(ctx context.Context, conn net.Conn, _ []byte) ([]byte, bool) {
		select {
		case turn <- struct{}{}:
			fmt.Fprintln(conn, next)
			next++
			<-turn
			return nil, false
		case <-ctx.Done():
			return nil, true
		}
	}
	if err := up.Run(context.Background(), up.ServeConns(ln, serve)); err != nil {
		log.Fatal(err)
	}
}

// Each line is answered by its number on its connection, through any number of
// upgrades.
func ExampleUpgrader_ServeConns() {
	up, err := handoff.New(handoff.Options{})
	if err != nil {
		log.Fatal(err)
	}
	ln, err := up.Listen("count", "tcp", ":7002")
	if err != nil {
		log.Fatal(err)
	}
	serve := func(ctx context.Context, conn net.Conn, state []byte) (next []byte, move bool) {
		stop := context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Unix(1, 0)) })
		defer stop()
		count, half := 0, ""
		fmt.Sscanf(string(state), "%d %q", &count, &half)
		for in := bufio.NewReader(conn); ; {
			part, err := in.ReadString('\n')
			half += part
			if err != nil { // the end, or time to leave
				return fmt.Appendf(nil, "%d %q", count, half), ctx.Err() != nil
			}
			count++
			fmt.Fprintf(conn, "%d: %s", count, half)
			half = ""
		}
	}
	if err := up.Run(context.Background(), up.ServeConns(ln, serve)); err != nil {
		log.Fatal(err)
	}
}
