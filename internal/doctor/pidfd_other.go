//go:build !linux

package doctor

// pidfdID is what LISTEN_PIDFDID is to be for a process; "" if that can't be told.
func pidfdID(int) string { return "" }
