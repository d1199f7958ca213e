//go:build !linux

package handoff

func newStateFile() (*stateFile, error) { return temporaryStateFile() }
