//go:build unix

package testenv

import (
	"os"
	"os/signal"
	"syscall"
)

// Settle sets the usual file mode creation mask, for a test that runs something as another
// user has to make files that it can read. Under nohup(1) children would ignore SIGHUP,
// as this process does; from now on they have the default. A TestMain calls it first.
func Settle() {
	syscall.Umask(0o022)
	if signal.Ignored(syscall.SIGHUP) {
		// A signal that is caught is reset by execve(2), one that is ignored is not.
		signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	}
}
