//go:build unix && !linux

package main

var systemOptions []socketOption
