//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"syscall"
	"time"

	"github.com/handoff-dev/handoff/handoff"
	"golang.org/x/sys/unix"
)

// notify sends the states of a request to systemd, from this process, with a file where
// it asks for one, and waits until systemd has processed it.
func notify(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		fail(w, err)
		return
	}
	var states []handoff.State
	for _, s := range r.Form["state"] {
		states = append(states, handoff.State(s))
	}
	var files []syscall.Conn
	if kind := r.Form.Get("file"); kind != "" {
		f, err := newFile(kind)
		if err != nil {
			fail(w, err)
			return
		}
		defer f.Close()
		files = append(files, f)
	}
	if err := tell(r.Context(), files, states...); err != nil {
		fail(w, err)
	}
}

// newFile returns a memfd or, of the kind "hung up", a pipe without a writer.
func newFile(kind string) (*os.File, error) {
	if kind == "hung up" {
		r, w, err := os.Pipe()
		if err == nil {
			err = w.Close()
		}
		return r, err
	}
	fd, err := unix.MemfdCreate("notify", unix.MFD_CLOEXEC)
	return os.NewFile(uintptr(fd), "notify"), err
}

func tell(ctx context.Context, files []syscall.Conn, states ...handoff.State) error {
	n, err := handoff.OpenNotifier()
	if err != nil {
		return err
	}
	defer n.Close()
	if err := n.NotifyFiles(files, states...); err != nil {
		return err
	}
	return n.Barrier(ctx)
}

// startSlowly takes longer than the unit allows, and asks for that time if it is to.
func startSlowly(d time.Duration, ask bool) error {
	if ask {
		if err := tell(context.Background(), nil, handoff.ExtendTimeout(d+time.Minute)); err != nil {
			return err
		}
	}
	time.Sleep(d)
	return nil
}

// upgrade answers with how an upgrade has failed.
func (k *keeper) upgrade(w http.ResponseWriter, r *http.Request) {
	err := k.up.Upgrade(r.Context())
	fmt.Fprintf(w, "would end the service: %v: %v\n", errors.Is(err, handoff.ErrWouldEndService), err)
}

// hangUp closes the stored connection.
func (k *keeper) hangUp(w http.ResponseWriter, _ *http.Request) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.conn == nil {
		fail(w, errNothing)
		return
	}
	if err := k.conn.Close(); err != nil {
		fail(w, err)
	}
	k.conn = nil
}
