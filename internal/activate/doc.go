// Package activate starts programs on sockets, as systemd does it for units: one
// program for all sockets, which this process becomes, or one for each connection.
package activate

import "errors"

// ErrUnsupported is wrapped by the error for what this system can't do.
var ErrUnsupported = errors.ErrUnsupported
