//go:build linux

package main

import (
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/handoff-dev/handoff/handoff"
)

// successorMode is how to misbehave, "" for not.
func successorMode() string {
	if os.Getenv("HANDOFF_LINK") == "" {
		return ""
	}
	mode, err := os.ReadFile(filepath.Join(dir, "mode"))
	if err != nil {
		return ""
	}
	return string(mode)
}

// misbehave does what needs no Upgrader. It returns false where there is more to do.
func misbehave(mode string) bool {
	switch mode {
	case "hang":
		signal.Ignore(syscall.SIGTERM)
		select {}
	case "exit":
		send(handoff.Status("no licence found"), handoff.Errno(syscall.EDQUOT))
		os.Exit(3)
	case "first-exit":
		sayFirst()
	case "close-fds":
		count, _ := strconv.Atoi(os.Getenv("LISTEN_FDS"))
		for fd := 3; fd < 3+count+1; fd++ { // the link too
			syscall.Close(fd)
		}
		send(handoff.Ready)
		stopSignal := make(chan os.Signal, 1)
		signal.Notify(stopSignal, syscall.SIGTERM)
		<-stopSignal
	case "deaf":
		if err := serveDeaf(); err != nil {
			slog.Error("victim", "error", err)
			os.Exit(1)
		}
	case "fork-exit":
		cmd := exec.Command(os.Args[0], os.Args[1:]...)
		cmd.Stderr = os.Stderr
		for fd := 3; fd < 32; fd++ { // as a daemon does it that knows nothing of the descriptors
			_, _, _ = syscall.RawSyscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_SETFD, 0)
		}
		os.Remove(filepath.Join(dir, "mode"))
		if err := cmd.Start(); err != nil {
			slog.Error("victim", "error", err)
		}
		os.Exit(0)
	default:
		return false
	}
	return true
}

// serveDeaf serves as a program does that knows LISTEN_FDS and NOTIFY_SOCKET
// alone.
func serveDeaf() error {
	set, err := handoff.Inherit(handoff.InheritOptions{})
	if err != nil {
		return err
	}
	ln, err := set.Listener(handoff.ByName("http"))
	if err != nil {
		return err
	}
	send(handoff.Ready)
	stopSignal := make(chan os.Signal, 1)
	signal.Notify(stopSignal, syscall.SIGTERM)
	signal.Ignore(syscall.SIGHUP)
	go func() { _ = http.Serve(noting{ln}, handler(0)) }()
	<-stopSignal
	return nil
}

// dieWhenReady ends this process in its probation.
func dieWhenReady(up *handoff.Upgrader, mode string) {
	for up.Ready() != nil { // a second call: it returns when the first has succeeded
		time.Sleep(time.Millisecond)
	}
	if mode == "crash" {
		_ = syscall.Kill(os.Getpid(), syscall.SIGABRT)
		select {}
	}
	os.Exit(0)
}

func send(states ...handoff.State) {
	n, err := handoff.OpenNotifier()
	if err == nil {
		err = n.Notify(states...)
		_ = n.Close()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "victim:", err)
	}
}
