// Package bbolt tests docs/upgrades.md's recipe for what only one process may have: a
// go.etcd.io/bbolt database, whose file is locked by the generation that has it open.
package bbolt
