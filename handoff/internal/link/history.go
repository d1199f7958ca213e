package link

import (
	"encoding/json"
	"time"
)

// KindHistory tells the successor of former upgrades: after the hello, and again
// when it has taken over. The body is a [History].
const KindHistory Kind = 40

// History is what is remembered of former upgrades.
type History struct {
	Upgrades json.RawMessage `json:"upgrades"` // an array of handoff.UpgradeRecord
}

// Drain is the part of a [Status] that tells what a draining generation waits for.
type Drain struct {
	Since    time.Time `json:"since,omitzero"`
	Deadline time.Time `json:"deadline,omitzero"`
	Open     []OpenAt  `json:"open,omitempty"`
}

// OpenAt is how many connections are open that have come in at a listener.
type OpenAt struct {
	Name    string `json:"name"`
	Address string `json:"address"`
	Open    int    `json:"open"`
}
