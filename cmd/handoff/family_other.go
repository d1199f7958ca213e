//go:build !unix && !small

package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
)

var errNoDemo = errors.New("the demo needs Unix")

func demoSupported() error {
	return withHint(fmt.Errorf("%w, and this is %s", errNoDemo, runtime.GOOS), "run it on Linux, macOS or a BSD")
}

// family can't be started here: [demoSupported] comes first.
type family struct{}

func startFamily(string, int) (*family, error) { return nil, demoSupported() }

func (*family) awaitFirst(context.Context) (birth, error)      { return birth{}, errNoDemo }
func (*family) awaitBirth(context.Context, int) (birth, error) { return birth{}, errNoDemo }
func (*family) upgrade(int) error                              { return errNoDemo }
func (*family) terminate(context.Context, int) error           { return errNoDemo }
func (*family) explain(err error) error                        { return err }
func (*family) reap(int)                                       {}
func (*family) end() error                                     { return nil }
