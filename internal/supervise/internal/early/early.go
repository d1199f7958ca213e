// Package early takes over the signals of a holder that has upgraded itself, before it
// has done anything else. It imports little, so that its init function is among the
// first.
package early

// Variable tells that this process is a holder that has upgraded itself.
const Variable = "HANDOFF_RUN_STATE"
