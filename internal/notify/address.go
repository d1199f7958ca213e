package notify

import (
	"path/filepath"
	"strings"
)

const (
	abstractPrefix = "@handoff-notify-"
	directory      = "handoff-notify-" // and the user's id
)

// IsReceiver tells whether address, the value of NOTIFY_SOCKET, is that of a Receiver: of a
// holder or a generation, and not of another service manager.
func IsReceiver(address string) bool {
	return strings.HasPrefix(address, abstractPrefix) || strings.HasPrefix(filepath.Base(filepath.Dir(address)), directory)
}
