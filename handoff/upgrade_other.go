//go:build !unix

package handoff

// canUpgrade is false: no process can be started here with what this one has open.
const canUpgrade = false

// launch is never called.
func (s *successor) launch() error { return ErrUnsupported }

func (s *successor) wait() error { return nil }
