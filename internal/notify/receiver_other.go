//go:build !unix

package notify

import (
	"errors"
	"fmt"
	"time"
)

// A Receiver is the end of a NOTIFY_SOCKET at which a service manager hears.
// This system has no such sockets.
type Receiver struct {
	// KeepStored has no effect here.
	KeepStored bool
}

// Listen returns an error that matches errors.ErrUnsupported.
func Listen() (*Receiver, error) {
	return nil, fmt.Errorf("handoff: listen for notifications: this system has no unix datagram sockets: %w", errors.ErrUnsupported)
}

// Address returns "".
func (r *Receiver) Address() string { return "" }

// SetReadDeadline returns an error that matches errors.ErrUnsupported.
func (r *Receiver) SetReadDeadline(time.Time) error { return errors.ErrUnsupported }

// Receive returns an error that matches errors.ErrUnsupported.
func (r *Receiver) Receive() (Message, error) { return Message{}, errors.ErrUnsupported }

// Close does nothing.
func (r *Receiver) Close() error { return nil }
