// Package run holds the tests of "handoff run": a holder with real copies behind it,
// under counted load. The copies are a program of its own, in program, that can be told
// to fail in many ways, and programs that know nothing of a holder, in testdata and
// gosystemd.
package run
