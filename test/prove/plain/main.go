// Plain is a server as the manual of net/http shows it, under a parent that
// restarts it at SIGHUP as a service manager does: the old process is told to
// end, and shuts down with good manners; then the new one is started.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

func main() {
	addr := flag.String("http", "127.0.0.1:0", "serve HTTP on `address`")
	child := flag.Bool("child", false, "serve, rather than start who does")
	flag.Parse()
	log.SetPrefix(fmt.Sprintf("plain %d: ", os.Getpid()))
	run := supervise
	if *child {
		run = serve
	}
	if err := run(*addr); err != nil {
		log.Fatal(err)
	}
}

func supervise(addr string) error {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGTERM)
	self, err := os.Executable()
	if err != nil {
		return err
	}
	for {
		cmd := exec.Command(self, "-child", "-http", addr)
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		if err := cmd.Start(); err != nil {
			return err
		}
		s := <-signals
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			return err
		}
		if err := cmd.Wait(); err != nil || s == syscall.SIGTERM {
			return err
		}
	}
}

func serve(addr string) error {
	srv := &http.Server{Addr: addr, Handler: http.HandlerFunc(echo)}
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM)
	down := make(chan error, 1)
	go func() {
		<-ended
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		down <- srv.Shutdown(ctx)
	}()
	if err := srv.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-down
}

func echo(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Pid", strconv.Itoa(os.Getpid()))
	if r.Method == http.MethodGet {
		fmt.Fprintln(w, "plain")
		return
	}
	io.Copy(w, r.Body)
}
