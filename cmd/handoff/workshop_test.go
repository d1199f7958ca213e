//go:build !small

package main

import "testing"

// isDemoServer tells whether this binary is a copy that the demo made of itself.
func isDemoServer() bool {
	_, err := ownVersion()
	return err == nil
}

func TestTheDemosErrorsSayWhatToDo(t *testing.T) {
	t.Parallel()
	testCalls(t, []call{
		{"demo --help", exitOK, "--upgrades", ""},
		{"demo --frobnicate", exitUsage, "", "error: unknown flag: --frobnicate\nhint: see 'handoff demo --help'\n"},
		{"demo --seconds=0", exitUsage, "", "error: --seconds is 0: want more than 0, and 3600 at most\nhint: see 'handoff demo --help'\n"},
		{"demo --seconds=NaN", exitUsage, "", "error: --seconds is NaN"},
		{"demo --workers=0", exitUsage, "", "error: --workers is 0"},
		{"demo --upgrades=-1", exitUsage, "", "error: --upgrades is -1"},
		{"demo-server", exitFailed, "", "error: this binary has no version of the demo: it is started by 'handoff demo' only\n"},
	})
}
