//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package handoff

func lockDirectory(string) (unlock func()) { return func() {} }
