// Package migrating builds the programs of docs/migrating.md. Its module has the modules of
// the peers, which nothing else here needs.
package migrating
