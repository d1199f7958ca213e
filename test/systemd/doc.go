// Package systemd tests what systemd makes of a service that upgrades itself, with a
// real systemd and with the unit files of examples/graceful as they are.
package systemd
