package supervise

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// forwarded are the signals that the program gets as they come. What the kernel sends
// about faults is not among them, nor what the Go runtime uses, nor what stops a process
// for a terminal.
var forwarded = []syscall.Signal{unix.SIGQUIT, unix.SIGUSR1, unix.SIGWINCH, unix.SIGCONT, unix.SIGALRM,
	unix.SIGVTALRM, unix.SIGIO, unix.SIGPWR, unix.SIGXCPU, unix.SIGXFSZ}

// The real-time signals that a C library leaves to programs.
const (
	firstRealTime = syscall.Signal(35)
	lastRealTime  = syscall.Signal(64)
)

// own are those that the holder acts on. SIGPIPE it has to survive: whoever reads its
// standard error may go away.
var own = []syscall.Signal{unix.SIGHUP, unix.SIGTERM, unix.SIGINT, unix.SIGUSR2, unix.SIGCHLD, unix.SIGPIPE}

func allSignals() (all []os.Signal) {
	for _, sig := range own {
		all = append(all, sig)
	}
	for _, sig := range forwarded {
		all = append(all, sig)
	}
	for sig := firstRealTime; sig <= lastRealTime; sig++ {
		all = append(all, sig)
	}
	return all
}

// signalled takes a signal to the holder.
func (h *Holder) signalled(sig syscall.Signal) {
	switch sig {
	case unix.SIGCHLD:
		h.reap()
	case unix.SIGPIPE:
	case unix.SIGHUP:
		h.upgrade()
	case unix.SIGUSR2:
		if !h.stopping {
			h.reexec = true // see proceed
		}
	case unix.SIGTERM, unix.SIGINT:
		h.told(sig)
	default:
		for _, w := range h.workers {
			for _, c := range []*process{w.main, w.next} {
				if c != nil && !c.ended {
					c.signal(sig)
				}
			}
		}
	}
}

// told is about the end. The second time the copies hear it again, as many a program
// hurries then; the third time, and with Ctrl-C the second time, they are killed.
func (h *Holder) told(sig syscall.Signal) {
	h.asked++
	switch {
	case h.asked == 1:
		h.log("%s: stopping", unix.SignalName(sig))
		h.stop()
	case h.asked > 2 || sig == unix.SIGINT:
		for c := range h.leaving {
			h.log("killing %s", c)
			c.kill()
		}
	default:
		for c := range h.leaving {
			c.signal(h.opt.StopSignal)
		}
	}
}
