//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package unixpath

func Lock(string) (unlock func()) { return func() {} }
