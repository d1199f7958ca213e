//go:build race

package handoff

// raceEnabled: the race detector makes a search some ten times as long.
const raceEnabled = true
