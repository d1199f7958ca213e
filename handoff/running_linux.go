package handoff

// runningFile leads to the file that this process runs, also if it was replaced or
// removed.
func runningFile() string { return "/proc/self/exe" }
