package main

import (
	"context"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
)

// workerVariable tells the process that it is the one that measures. It has to be
// another than the one that takes the user's signals: successors of endless send
// SIGTERM to whoever is their parent, once for each listener, and after the first that
// is the subreaper.
const workerVariable = "BENCH_WORKER"

// front runs the same command in a worker, in a process group of its own, and passes
// on that it is to end: by closing its standard input, which also happens if this
// process is killed.
func front() int {
	self, err := os.Executable()
	if err != nil {
		return fail(err)
	}
	cmd := exec.Command(self, os.Args[1:]...)
	cmd.Env = append(os.Environ(), workerVariable+"=1")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		return fail(err)
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	if err := cmd.Start(); err != nil {
		return fail(err)
	}
	go func() {
		<-signals
		in.Close()
	}()
	cmd.Wait()
	return cmd.ProcessState.ExitCode()
}

// untilEOF returns a context that ends when r does.
func untilEOF(r io.Reader) context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		io.Copy(io.Discard, r)
		cancel()
	}()
	return ctx
}
