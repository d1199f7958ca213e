//go:build !linux

package proctest

import "runtime"

var exeSuffix = map[string]string{"windows": ".exe"}[runtime.GOOS]

// Without a subreaper the descendants of a process can't be found: here only the
// processes that a test started itself are ended with it.

func becomeSubreaper() error { return nil }

func endOwned(string) []string { return nil }

func endChildren() []string { return nil }

func keepDescriptors() {}
