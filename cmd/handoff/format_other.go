//go:build !unix

package main

func isFormatError(error) bool { return false }
