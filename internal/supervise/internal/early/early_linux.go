package early

import (
	"os"
	"os/signal"
	"syscall"
)

// Signals are those that came since the program began, where Variable is set.
var Signals = make(chan os.Signal, 64)

func init() {
	// As PID 1, and as any other, a Go program ends by these unless it wants them.
	if _, ok := syscall.Getenv(Variable); ok {
		signal.Notify(Signals, syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT)
	}
}
