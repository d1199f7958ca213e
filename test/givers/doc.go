// Package givers holds the tests that handoff inherits what programs give which know
// nothing of it. The test binary plays the service that they start.
package givers
