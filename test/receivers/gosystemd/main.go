// Command gosystemd is a service on go-systemd: it serves on the listeners that it
// was given and answers every request with a report (see doc.go of the tests).
package main

import (
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"strings"

	"github.com/coreos/go-systemd/v22/activation"
)

func main() {
	var report strings.Builder
	fmt.Fprintf(&report, "pid %d\n", os.Getpid())
	var listeners []net.Listener
	for _, file := range activation.Files(true) {
		fmt.Fprintf(&report, "name %s\n", file.Name())
		if ln, err := net.FileListener(file); err == nil { // else a datagram socket, or a file
			listeners = append(listeners, ln)
		}
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, report.String())
	})}
	ended := make(chan error)
	for _, ln := range listeners {
		go func() { ended <- server.Serve(ln) }()
	}
	log.Fatal(<-ended)
}
