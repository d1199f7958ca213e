//go:build !unix

package main

func socketFlags(int) []string { return nil }
