//go:build !small

package main

import "github.com/spf13/cobra"

// workshop returns the commands that try things out. Their files carry the build constraint !small.
func workshop() []*cobra.Command {
	return []*cobra.Command{newDemo(), newDemoServer(), newProve()}
}
