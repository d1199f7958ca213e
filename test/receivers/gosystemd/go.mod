// A receiver on go-systemd, in a module of its own so that the go.mod of the
// library names nothing that the library does not use.
module github.com/handoff-dev/handoff/test/receivers/gosystemd

go 1.25.0

require github.com/coreos/go-systemd/v22 v22.7.0
