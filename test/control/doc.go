// Package control tests the control socket of real services, and the commands that
// use it.
package control
