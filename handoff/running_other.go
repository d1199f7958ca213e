//go:build !linux

package handoff

// runningFile is the path of the file that this process runs. What was put there
// later can't be told from it here.
func runningFile() string { return started.path }
