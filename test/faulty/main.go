// Faulty is a version of examples/graceful that fails, to try what a failed
// upgrade costs. It takes the same flags, so that it can be put in its place, and
// one more:
//
//	-fail check         exit with status 3 when run with -t
//	-fail hang-check    never end when run with -t
//	-fail start         exit with status 3 at once
//	-fail before-ready  exit with status 3 with all sockets taken
//	-fail after-ready   exit with status 3 right after being ready
//	-fail hang          never be ready
//	-fail hang-hard     never be ready, and ignore SIGTERM
//	-fail ready-exit    be ready and exit with status 0
package main

import (
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/handoff-dev/handoff/handoff"
)

// fail is the default of -fail, for a program that is started with another's
// flags.
var fail string

var ways = []string{"check", "hang-check", "start", "before-ready", "after-ready", "hang", "hang-hard", "ready-exit"}

// status is what a failing process exits with.
const status = 3

func main() {
	httpAddr := flag.String("http", "127.0.0.1:8080", "")
	pidFile := flag.String("pid-file", "", "")
	for _, ignored := range []string{"https", "unix", "udp"} {
		flag.String(ignored, "", "")
	}
	for _, ignored := range []string{"probation", "drain", "ready-delay", "ready-timeout"} {
		flag.Duration(ignored, 0, "")
	}
	control := flag.String("control", "", "")
	flag.String("control-group", "", "")
	flag.Bool("preflight", false, "")
	test := flag.Bool("t", false, "")
	flag.StringVar(&fail, "fail", fail, "when to fail")
	flag.Parse()
	if !slices.Contains(ways, fail) {
		fmt.Fprintf(os.Stderr, "faulty: -fail is %q: want one of %s\n", fail, strings.Join(ways, ", "))
		os.Exit(2)
	}
	if *test {
		if fail == "check" {
			fmt.Println("faulty: the configuration is wrong")
			os.Exit(status)
		}
		if fail == "hang-check" {
			fmt.Println("faulty: thinking")
			time.Sleep(time.Hour)
		}
		return
	}
	if err := run(*httpAddr, *pidFile, *control); err != nil {
		fmt.Fprintln(os.Stderr, "faulty:", err)
		os.Exit(1)
	}
}

func run(httpAddr, pidFile, control string) error {
	if fail == "start" {
		fmt.Fprintln(os.Stderr, "faulty: failing at the start")
		os.Exit(status)
	}
	up, err := handoff.New(handoff.Options{PIDFile: pidFile, Control: control})
	if err != nil {
		return err
	}
	defer up.Close()
	ln, err := up.Listen("http", "tcp", httpAddr)
	if err != nil {
		return err
	}
	// What it has accepted is lost with it: it never gives an answer of its own.
	go http.Serve(ln, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { select {} }))
	switch fail {
	case "before-ready":
		notify("about to fail")
		os.Exit(status)
	case "hang-hard":
		signal.Ignore(syscall.SIGTERM)
		select {}
	case "hang":
		signal.Reset(syscall.SIGTERM) // to die of it at once
		select {}
	}
	if err := up.Ready(); err != nil {
		return err
	}
	switch fail {
	case "after-ready":
		os.Exit(status)
	case "ready-exit":
		os.Exit(0)
	}
	return errors.New("to fail by a check, it has to be asked: run it with -t")
}

// notify tells the predecessor a status, as a program that knows what ails it
// would.
func notify(text string) {
	n, err := handoff.OpenNotifier()
	if err == nil {
		err = n.Notify(handoff.Status(text), handoff.Errno(syscall.EBUSY))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "faulty:", err)
	}
}
