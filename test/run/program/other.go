//go:build !unix

package main

// The tests need signals.
func main() {}
