// Command gosystemd is an HTTP server on go-systemd, which answers with what it is sent.
// It ends as net/http's documentation says, by Shutdown.
package main

import (
	"context"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/coreos/go-systemd/v22/daemon"
)

func main() {
	listeners, err := activation.Listeners()
	if err != nil || len(listeners) != 1 {
		log.Fatalf("%d listeners, %v", len(listeners), err)
	}
	pid := strconv.Itoa(os.Getpid())
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Pid", pid)
		io.Copy(w, r.Body)
	})}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		<-stop
		// Shutdown drops a connection whose request comes only now, so first no other is
		// accepted, and those that are there get a moment.
		listeners[0].Close()
		time.Sleep(time.Second)
		if err := server.Shutdown(context.Background()); err != nil {
			log.Print(err)
		}
	}()
	if _, err := daemon.SdNotify(false, daemon.SdNotifyReady); err != nil {
		log.Fatal(err)
	}
	_ = server.Serve(listeners[0]) // it ends with the listener
	<-ended
}
