//go:build linux

package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"time"

	"github.com/handoff-dev/handoff/handoff"
)

// childSays is the variable by which this program is told to send a datagram as a child.
const childSays = "VICTIM_CHILD_SAYS"

// proof is what Upgrader.Ready sends.
const proof = "READY=1\nX_HANDOFF_MANY_CONNECTIONS=1\nX_HANDOFF_STATE=1"

// beChild sends one datagram, and lives as long as its parent.
func beChild() {
	datagram := os.Getenv(childSays)
	if datagram == "" {
		return
	}
	if err := sayRaw(datagram); err != nil {
		fmt.Fprintln(os.Stderr, "victim's child:", err)
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}

// sayRaw sends a datagram as other libraries do.
func sayRaw(datagram string) error {
	conn, err := net.Dial("unixgram", os.Getenv("NOTIFY_SOCKET"))
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.Write([]byte(datagram))
	return err
}

// sayEarly says READY=1 before Upgrader.Ready, then fails or hangs.
func sayEarly(mode string) (err error) {
	switch mode {
	case "early-exit", "early-hang":
		err = sayRaw("READY=1")
	case "child-hang":
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childSays+"="+proof)
		cmd.Stderr = os.Stderr
		if _, err = cmd.StdinPipe(); err == nil { // until this process ends
			err = cmd.Start()
		}
	default:
		return nil
	}
	if err != nil {
		return err
	}
	if mode == "early-exit" {
		// Longer than any probation of the tests, so that it would have been committed to.
		time.Sleep(time.Second)
		os.Exit(3)
	}
	select {}
}

// sayFirst says READY=1 before New, and fails in the slow init that follows.
func sayFirst() {
	send(handoff.Ready)
	time.Sleep(time.Second) // as above
	os.Exit(3)
}
