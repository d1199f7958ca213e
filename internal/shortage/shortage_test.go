package shortage

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

func acceptError(err error) error {
	return &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", err)}
}

func TestOnlyTheEndOfAListenerEndsItsLoop(t *testing.T) {
	t.Parallel()
	for _, err := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED, syscall.EPROTO, syscall.EPERM} {
		if !Passes(acceptError(err)) || !Passes(fmt.Errorf("a wrapper's: %w", acceptError(err))) {
			t.Errorf("%v ends the loop", err)
		}
	}
	for _, err := range []error{nil, net.ErrClosed, acceptError(net.ErrClosed), acceptError(syscall.EINVAL), acceptError(syscall.EBADF), io.EOF, errors.New("any")} {
		if Passes(err) {
			t.Errorf("%v does not end the loop", err)
		}
	}
}

func TestThePausesGrowAndBeginAnewAfterASuccess(t *testing.T) {
	t.Parallel()
	var p Pause
	done := make(chan struct{})
	close(done)
	var waits []time.Duration
	for range 10 {
		if !p.Wait(syscall.EMFILE, done) {
			t.Fatal("it does not go on")
		}
		waits = append(waits, p.next)
	}
	if waits[0] != first || waits[1] != 2*first || waits[9] != last {
		t.Errorf("the waits are %v", waits)
	}
	if p.Over(); p.Begun() {
		t.Error("it has begun")
	}
	if p.Wait(net.ErrClosed, done) {
		t.Error("it goes on after the listener's end")
	}
}
