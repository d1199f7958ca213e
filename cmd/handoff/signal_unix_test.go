//go:build unix

package main

import (
	"strings"
	"syscall"
	"testing"
)

func TestSignalsAreReadAsSystemdSpellsThem(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]syscall.Signal{
		"TERM": syscall.SIGTERM, "SIGQUIT": syscall.SIGQUIT, "usr2": syscall.SIGUSR2, "15": 15, "64": 64,
		"RTMIN": 34, "SIGRTMIN": 34, "RTMIN+0": 34, "RTMIN+3": 37, "SIGRTMIN+3": 37, "sigrtmin+30": 64,
		"RTMAX": 64, "RTMAX-0": 64, "RTMAX-1": 63, "SIGRTMAX-30": 34,
	} {
		if got, err := parseSignal(text); got != want || err != nil {
			t.Errorf("%q is signal %d (%v), want %d", text, got, err, want)
		}
	}
	for _, text := range []string{
		"", "0", "-1", "65", "15x", " 15", "SIG", "SIGSIGTERM", "NONE", "RTMIN+31", "RTMAX-31", "RTMIN-1", "RTMAX+1",
		"RTMIN+", "RTMIN3", "RTMIN++3", "RTMIN+-3", "RTMIN+3x", "RTMIN+99999999999999999999", "RTMIN +3", "RT", "TERM\nx",
	} {
		if got, err := parseSignal(text); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q is signal %d, error %v: want an error of one line", text, got, err)
		}
	}
}
