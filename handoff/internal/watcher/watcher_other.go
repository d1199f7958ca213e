//go:build !linux

package watcher

// Find finds none on this system.
func Find(bool) (name string, found bool) { return "", false }
