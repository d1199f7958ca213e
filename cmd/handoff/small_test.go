//go:build small

package main

import "testing"

func isDemoServer() bool { return false }

func TestTheCommandOfAnImageTriesNothingOut(t *testing.T) {
	t.Parallel()
	testCalls(t, []call{
		{"demo", exitUsage, "", "error: unknown command \"demo\" for \"handoff\"\n"},
		{"prove", exitUsage, "", "error: unknown command \"prove\" for \"handoff\"\n"},
	})
}
