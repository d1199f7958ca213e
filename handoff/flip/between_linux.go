package flip

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/cloudflare/tableflip"
	"github.com/handoff-dev/handoff/handoff"
	"github.com/handoff-dev/handoff/handoff/internal/link"
	"github.com/handoff-dev/handoff/handoff/internal/stage"
	"golang.org/x/sys/unix"
)

// A go-between is a process of this program that a generation starts in place of its
// successor, which is a tableflip server: it plays the tableflip parent, and ends
// when the server is ready. It runs before main.
func init() {
	value, ok := os.LookupEnv(variable)
	if !ok {
		return
	}
	os.Unsetenv(variable)
	fd, linked := stage.Link()
	if !linked || stage.Setuid() {
		return // a stray variable
	}
	if err := between(fd, value); err != nil {
		if n, nerr := handoff.OpenNotifier(); nerr == nil {
			_ = n.Notify(handoff.Status(strings.Join(strings.Fields(err.Error()), " ")))
			n.Close()
		}
		os.Exit(1)
	}
	os.Exit(0)
}

func between(fd int, timeout string) error {
	patience, err := time.ParseDuration(timeout)
	if err != nil {
		return fmt.Errorf("flip: %s=%q: %w", variable, timeout, err)
	}
	// To close its channel ends the upgrade, and the process that it has started.
	// SIGHUP and SIGINT may come to all of the process group, and are others' to act on.
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT)

	conn, err := link.Open(fd)
	if err != nil {
		return err
	}
	hello, err := receiveHello(conn)
	if err != nil {
		return err
	}
	set, err := handoff.Inherit(handoff.InheritOptions{})
	if err != nil {
		return err
	}
	pidfd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		return fmt.Errorf("flip: to go back to a tableflip server needs Linux 5.3: %w", os.NewSyscallError("pidfd_open", err))
	}
	unix.Close(pidfd)
	// The older generation ends the wait; this is for when it has died.
	upg, err := tableflip.New(tableflip.Options{UpgradeTimeout: 2 * patience})
	if err != nil {
		return err
	}
	if err := give(upg.Fds, set, hello.Files); err != nil {
		return err
	}
	if err := upg.Ready(); err != nil {
		return err
	}
	go func() {
		for s := range signals {
			if s == syscall.SIGTERM {
				upg.Stop()
			}
		}
	}()
	before, err := pipeWriters()
	if err != nil {
		return err
	}
	if err := upgrade(upg, hello.Manager); err != nil {
		return err
	}
	return report(conn, before)
}

func receiveHello(conn *link.Conn) (hello link.Hello, err error) {
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return hello, err
	}
	m, err := conn.Receive()
	if err != nil {
		return hello, fmt.Errorf("flip: the older generation does not answer: %w", err)
	}
	m.Close()
	if m.Kind != link.KindHello {
		return hello, errors.New("flip: the older generation says no hello")
	}
	return hello, m.Decode(&hello)
}

// upgrade has tableflip start the server, in an environment that has nothing which was
// meant for this process.
func upgrade(upg *tableflip.Upgrader, manager string) error {
	notify := os.Getenv("NOTIFY_SOCKET")
	os.Unsetenv(stage.LinkVariable)
	os.Unsetenv("WATCHDOG_PID") // unset is any process, sd_watchdog_enabled(3)
	os.Unsetenv("NOTIFY_SOCKET")
	if manager != "" {
		os.Setenv("NOTIFY_SOCKET", manager)
	}
	err := upg.Upgrade()
	// tableflip hears of Ready and of Upgrade in one select, in any order.
	for range 1000 {
		if err == nil || err.Error() != "process is not ready yet" {
			break
		}
		time.Sleep(time.Millisecond)
		err = upg.Upgrade()
	}
	os.Setenv("NOTIFY_SOCKET", notify) // for the report of an error
	return err
}

// report tells the older generation that the server is ready, and leaves to it what the
// server takes for its parent's life: the pipe that tableflip closes by its end.
func report(conn *link.Conn, before map[int]bool) error {
	pid, pidfd, err := child()
	if err != nil {
		return err
	}
	defer pidfd.Close()
	files := []syscall.Conn{pidfd}
	after, err := pipeWriters()
	if err != nil {
		return err
	}
	for fd := range after {
		if !before[fd] {
			files = append(files, os.NewFile(uintptr(fd), "pipe"))
		}
	}
	if len(files) < 2 {
		_ = unix.PidfdSendSignal(int(pidfd.Fd()), unix.SIGKILL, nil, 0)
		return errors.New("flip: this release of " + tableflipModule + " tells its life in a way that is unknown here; build with v1.2.3")
	}
	if err := conn.Send(time.Minute, link.KindStarted, link.Started{PID: pid}, files...); err != nil {
		return nil // it has died, and the server goes on without it
	}
	return nil
}
