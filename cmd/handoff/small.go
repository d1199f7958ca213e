//go:build small

package main

import "github.com/spf13/cobra"

// workshop returns nothing: the build tag small is for container images, which hold
// what a service needs to run. What comes along with the other commands, such as an HTTP/2
// client and charts, is most of the whole binary.
func workshop() []*cobra.Command { return nil }
