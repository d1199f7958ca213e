package handoff

import "time"

// SetTimeout shortens the time that a send may take.
func (n *Notifier) SetTimeout(d time.Duration) { n.timeout = d }
