// Package exec holds the tests of the command "handoff exec" and "handoff inspect" with
// real processes: what a program has that was started by it, down to each descriptor, and
// how it gets on with systemd-socket-activate and with programs that know nothing of
// handoff.
package exec
