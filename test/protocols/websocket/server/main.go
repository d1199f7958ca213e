// Server echoes numbered WebSocket messages, in the way that a server on handoff
// does it: when its generation drains it ends each connection after the message
// that is being worked on, with close code 1012, "service restart".
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/handoff-dev/handoff/handoff"
)

func main() {
	var opts handoff.Options
	addr := flag.String("addr", "", "serve on `address`")
	work := flag.String("work", "", "append the messages that were worked on to `file`")
	deaf := flag.Bool("deaf", false, "do not care about the drain")
	flag.StringVar(&opts.PIDFile, "pid-file", "", "keep the main process's pid in `file`")
	flag.DurationVar(&opts.DrainTimeout, "drain", 0, "how long connections may take to end")
	flag.Parse()
	opts.Probation = -1
	opts.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil)).With("pid", os.Getpid())
	if err := serve(opts, *addr, *work, *deaf); err != nil {
		fmt.Fprintln(os.Stderr, "server:", err)
		os.Exit(1)
	}
}

func serve(opts handoff.Options, addr, work string, deaf bool) error {
	up, err := handoff.New(opts)
	if err != nil {
		return err
	}
	defer up.Close()
	ln, err := up.Listen("ws", "tcp", addr)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(work, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	h := &echo{work: file, deaf: deaf}
	return up.Run(context.Background(), handoff.Serve(&http.Server{Handler: h}, ln))
}

type echo struct {
	work *os.File
	deaf bool
}

func (e *echo) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		slog.Error("accept", "error", err)
		return
	}
	defer conn.CloseNow()

	var mu sync.Mutex // held while a message is being worked on
	ended := false
	if !e.deaf {
		stop := context.AfterFunc(handoff.Draining(r.Context()), func() {
			mu.Lock()
			ended = true
			mu.Unlock()
			conn.Close(websocket.StatusServiceRestart, "connect again")
		})
		defer stop()
	}
	for {
		_, message, err := conn.Read(r.Context())
		if err != nil {
			return // the client has gone, or the connection was closed above
		}
		mu.Lock()
		if !ended {
			err = e.answer(r.Context(), conn, message)
		}
		mu.Unlock()
		if err != nil {
			slog.Error("answer", "error", err)
			return
		}
	}
}

// answer does the work, which takes some time.
func (e *echo) answer(ctx context.Context, conn *websocket.Conn, message []byte) error {
	if _, err := fmt.Fprintf(e.work, "%s\n", message); err != nil {
		return err
	}
	time.Sleep(time.Millisecond)
	return conn.Write(ctx, websocket.MessageText, fmt.Appendf(nil, "%s pid=%d", message, os.Getpid()))
}
