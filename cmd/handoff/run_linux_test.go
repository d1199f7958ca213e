package main

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/handoff-dev/handoff/internal/supervise"
)

func TestRunSaysWhatIsWrongWithItsFlags(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for args, want := range map[string]struct {
		code int
		text string
	}{
		"-l 8080":                                  {exitUsage, "error: the program is missing\nhint: see 'handoff run --help'\n"},
		"-l 8080 --":                               {exitUsage, "error: the program is missing\n"},
		"-- true":                                  {exitUsage, "error: there is no socket to hold\nhint: open one by --listen"},
		"-l nowhere -- true":                       {exitUsage, "error: socket: "},
		"-l 8080 --workers 0 -- true":              {exitUsage, "error: --workers is 0: want 1 or more\n"},
		"-l 8080 --ready http -- true":             {exitUsage, "error: --ready \"http\": want a path, such as http=/healthz\n"},
		"-l 8080 --ready soon -- true":             {exitUsage, "error: --ready \"soon\" is none of notify, "},
		"-l 8080 --stop-signal NONE -- true":       {exitUsage, "error: --stop-signal \"NONE\" is no signal"},
		"-l 8080 --restart sometimes -- true":      {exitUsage, "error: the restart policy \"sometimes\" is none of on-failure, always and never\n"},
		"-l 8080 --compat upstart -- true":         {exitUsage, "error: \"upstart\" is none of server-starter, einhorn, nginx\n"},
		"-l 8080 --stop-timeout 0 -- true":         {exitUsage, "error: --ready-timeout, --stop-timeout and --backoff want more than 0\n"},
		"-l udp::0 --ready http=/ -- true":         {exitExecFailed, "error: to be asked by HTTP the program needs a stream socket of TCP or unix\n"},
		"-l " + taken.Addr().String() + " -- true": {exitExecFailed, "address already in use\nhint: another process has the address"},
		"-l 8080 --check-reexec -- true":           {exitOK, ""},
	} {
		var stdout, stderr strings.Builder
		code := run(context.Background(), append([]string{"run"}, strings.Fields(args)...), strings.NewReader(""), &stdout, &stderr)
		if code != want.code || !strings.Contains(stderr.String(), want.text) {
			t.Errorf("handoff run %s: %d and %q, want %d and %q", args, code, stderr.String(), want.code, want.text)
		}
		if strings.Contains(args, "--check-reexec") != (stdout.String() == supervise.CheckLine()+"\n") {
			t.Errorf("handoff run %s prints %q", args, stdout.String())
		}
	}
}

func TestTheCheckIsAskedForBehindTheCommandsName(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"handoff run -l 1 -- run":      "[run --check-reexec -l 1 -- run]",
		"/usr/bin/run run -l 1 -- a b": "[run --check-reexec -l 1 -- a b]",
		"handoff":                      "[]",
	} {
		if got := fmt.Sprint(checkArgs(strings.Fields(args))); got != want {
			t.Errorf("%s: %s, want %s", args, got, want)
		}
	}
}
