//go:build !unix

package handoff

// launch can't start a successor on this system.
func (s *successor) launch() error { return ErrUnsupported }

func (s *successor) wait() error { return nil }
