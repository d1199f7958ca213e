// Package flip tests handoff/flip with real tableflip servers, which know nothing of
// handoff: over to it, and back, under load.
package flip
