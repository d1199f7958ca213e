// Package soak holds a test that does to a service at random what can be done to
// it, for as long as one likes: upgrades, failing ones, signals, faults, and load of
// all shapes.
//
//	go test ./test/soak -args -soak.time 1h
//	go test ./test/soak -args -soak.seed 42
//
// The seed makes the same decisions again, though not the same race between them
// and the service.
package soak
