// Chat is a chat server on plain TCP lines whose clients stay connected, in their
// rooms, while it is replaced: no message is lost, doubled or out of order.
//
//	go build -o bin/chat ./examples/chat && bin/chat -listen 127.0.0.1:7000 -pid-file /tmp/chat.pid
//	nc 127.0.0.1 7000        # /nick ann, /join tea, then talk; in another window as well
//	kill -HUP $(cat /tmp/chat.pid)
//
// A line is said to all in the sender's room, who get "<number> <nick>: <line>";
// numbers count up over all rooms. "/nick NAME", "/join ROOM", "/history" and "/quit"
// are commands.
//
// # How it survives an upgrade
//
// What belongs to one client (nick, room, the half of a line that it has typed, what
// it has not read yet) moves with its connection, by Upgrader.Move and
// handoff.StateOf. What belongs to all (the next number, the history of the rooms)
// is the generation's last word, by Upgrader.ProvideLast and TakeLast.
//
// For the order, nobody talks while that happens: the last word begins with a halt of
// all clients, and the new generation lets them talk once it has all of them, which
// Upgrader.Settled says. That takes milliseconds, during which nothing is refused:
// what clients say waits in their sockets. If the upgrade fails before it is final,
// the old generation ends its halt. Clients that come during the probation are
// accepted by the new generation and wait for its end, so that is short here.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/handoff-dev/handoff/handoff"
)

func main() {
	var opts handoff.Options
	listen := flag.String("listen", "127.0.0.1:7000", "serve on `address`")
	flag.StringVar(&opts.PIDFile, "pid-file", "", "keep the main process's pid in `file`")
	flag.DurationVar(&opts.Probation, "probation", 100*time.Millisecond, "how long a successor has to live before it takes over; negative for none")
	flag.DurationVar(&opts.ReadyTimeout, "ready-timeout", time.Minute, "how long a successor, and the last word to it, may take")
	flag.CommandLine.Init("chat", flag.ContinueOnError)
	flag.Usage = func() {} // a mistake gets one line
	if err := flag.CommandLine.Parse(os.Args[1:]); errors.Is(err, flag.ErrHelp) {
		flag.PrintDefaults()
		os.Exit(0)
	} else if err != nil {
		os.Exit(2)
	}
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "chat: unexpected argument %q\n", flag.Arg(0))
		os.Exit(2)
	}
	opts.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil)).With("pid", os.Getpid())
	if err := serve(opts, *listen); err != nil {
		fmt.Fprintln(os.Stderr, "chat:", err)
		os.Exit(1)
	}
}

// server is one generation.
type server struct {
	up       *handoff.Upgrader
	ln       net.Listener
	hub      *hub
	log      *slog.Logger
	accepted chan struct{} // closed when the last connection was accepted
}

func serve(opts handoff.Options, address string) error {
	up, err := handoff.New(opts)
	if err != nil {
		return err
	}
	defer up.Close()
	ln, err := up.Listen("chat", "tcp", address)
	if err != nil {
		return err
	}
	s := &server{up: up, ln: ln, hub: newHub(), log: opts.Logger, accepted: make(chan struct{})}
	settled := up.Settled(ln)
	if err := up.TakeLast("chat", s.hub.load); err != nil {
		return err
	}
	if err := up.ProvideLast("chat", stateVersion, s.hub.lastWord(settled), s.hub.release); err != nil {
		return err
	}
	go func() {
		<-settled
		s.hub.release() // it is held from the start
	}()
	return up.Run(context.Background(), handoff.Service{Serve: s.accept, Drain: s.drain})
}

// accept is the one loop over Accept: a client that was moved here is in the hub
// before the next one comes.
func (s *server) accept() error {
	defer close(s.accepted)
	for pause := time.Duration(0); ; {
		conn, err := s.ln.Accept()
		switch {
		case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
			// There is no descriptor left: as soon as a client goes there is one.
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			s.log.Warn("accepting a client; trying again", "error", err, "after", pause)
			time.Sleep(pause)
			continue
		case err != nil:
			return err
		}
		pause = 0
		state, moved := handoff.StateOf(conn)
		c := s.hub.newClient(conn)
		if moved {
			err = c.restore(state)
		}
		if err != nil {
			s.log.Error("a client's state", "error", err)
			conn.Close()
			continue
		}
		s.hub.add(c)
	}
}

// drain has all clients go to the successor. If there is none, or it doesn't take
// them, they are told goodbye.
func (s *server) drain(ctx context.Context) error {
	<-s.accepted
	s.hub.hold()
	var moves sync.WaitGroup
	for _, c := range s.hub.leave() {
		moves.Go(func() {
			err := s.up.Move(ctx, s.ln, c.conn, c.state())
			if err == nil {
				return
			}
			if !errors.Is(err, handoff.ErrNoSuccessor) {
				s.log.Error("moving a client", "nick", c.Nick, "error", err)
			}
			c.goodbye()
		})
	}
	moves.Wait()
	s.up.MovedAll(s.ln)
	return nil
}
