//go:build linux && race

package run

const raceEnabled = true
