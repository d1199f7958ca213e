package main

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	"google.golang.org/grpc"

	"github.com/handoff-dev/handoff/examples/grpc/echo"
)

type server struct {
	echo.UnimplementedEchoServer
	draining <-chan struct{} // closed when this process is not to be called any more
}

func (s *server) answer(n *echo.Note) *echo.Note {
	return &echo.Note{Text: n.GetText(), Number: n.GetNumber(), Pid: int64(os.Getpid())}
}

func (s *server) Say(_ context.Context, n *echo.Note) (*echo.Note, error) {
	return s.answer(n), nil
}

// Count has an end, which the drain waits for.
func (s *server) Count(r *echo.CountRequest, out grpc.ServerStreamingServer[echo.Note]) error {
	every := time.NewTicker(max(1, time.Duration(r.GetIntervalMs())*time.Millisecond))
	defer every.Stop()
	for i := range r.GetNotes() {
		if err := out.Send(s.answer(&echo.Note{Number: i})); err != nil {
			return err
		}
		select {
		case <-every.C:
		case <-out.Context().Done():
			return out.Context().Err()
		}
	}
	return nil
}

// Chat goes on for as long as the client likes, so the server ends it for the
// drain: after an answer, never between a note and its answer.
func (s *server) Chat(chat grpc.BidiStreamingServer[echo.Note, echo.Note]) error {
	notes, end := make(chan *echo.Note), make(chan error, 1)
	go func() {
		for {
			n, err := chat.Recv() // fails when the chat has ended
			if err != nil {
				end <- err
				return
			}
			select {
			case notes <- n:
			case <-chat.Context().Done():
				return
			}
		}
	}()
	for {
		select {
		case <-s.draining:
			return nil
		case n := <-notes:
			if err := chat.Send(s.answer(n)); err != nil {
				return err
			}
		case err := <-end:
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
	}
}
