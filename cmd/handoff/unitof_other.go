//go:build !linux

package main

func unitOf(int) string { return "" }
