// A program on go-systemd, in a module of its own so that the go.mod of the library
// names nothing that the library does not use.
module github.com/handoff-dev/handoff/test/run/gosystemd

go 1.25.0

require github.com/coreos/go-systemd/v22 v22.7.0

require golang.org/x/sys v0.44.0 // indirect
