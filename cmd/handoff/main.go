// Command handoff shows what package handoff does.
//
// It exits with 0 when all went well, with 1 when something failed, and with 2
// when it was called wrongly; a command with more codes says so in its help.
// What failed is said on standard error: a line that begins with "error:", and
// where there is something to do about it one that begins with "hint:".
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
