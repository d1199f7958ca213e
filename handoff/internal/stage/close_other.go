//go:build unix && !linux

package stage

// closeOnExecFrom marks first and every descriptor above it close-on-exec.
func closeOnExecFrom(first int) { closeOnExecEach(first) }
