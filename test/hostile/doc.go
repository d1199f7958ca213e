// Package hostile holds the tests in which somebody means harm, or the machine is
// odd: environments full of junk, notifications of strangers, links to rogues,
// files that are swapped, privileges that change. docs/security.md says what they
// prove.
package hostile
