// Package upgrade holds the tests that upgrade a real server, examples/graceful,
// under counted load: what is lost, what a failed upgrade costs, which signal does
// what.
package upgrade
