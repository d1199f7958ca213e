// Package graceful runs examples/graceful, or a program that takes its place, in
// all its generations, for tests that upgrade it.
package graceful
