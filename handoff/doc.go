// Package handoff replaces a running server by its next version without losing
// a request.
package handoff
