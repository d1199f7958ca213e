// Package state hands named state over to successors that are processes: this test
// binary itself, which main_test.go turns into what a test wants.
package state
