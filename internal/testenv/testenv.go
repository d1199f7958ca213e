// Package testenv makes the surroundings of a test run the ordinary ones, whoever starts
// it: what a process passes on to its children, and what the tests take for granted.
package testenv
