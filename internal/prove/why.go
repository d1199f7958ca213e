package prove

import (
	"strings"

	"github.com/handoff-dev/handoff/internal/load"
)

// why says in words what a failure's kind, stage and connection mean.
func why(f load.Failure, proto string) string {
	switch f.Kind {
	case load.Refused:
		return "nobody listened: the old process had closed its socket before the new one had opened its own"
	case load.Connect:
		return whyConnect(f)
	case load.Reset, load.EOF:
		return whyUnanswered(f, proto)
	case load.Torn, load.Truncated:
		return "the connection ended within the answer: the old process ended, or cut its connections, without waiting for the answers under way"
	case load.Timeout:
		if f.Stage < load.Sent {
			return "the request couldn't be sent in time: nobody read what was sent"
		}
		return "the connection stayed open, but no whole answer came in time: whoever had it did not serve it any more, or the upgrade held it up"
	case load.Status:
		if strings.HasPrefix(f.Error, "50") {
			return "the service answered with an error of its own: a proxy before it lost the process behind, or the new process served before it was ready"
		}
		return "the service answered, with a status that wasn't accepted"
	case load.Mismatch:
		if proto == load.HTTP1 {
			return "what came was no answer to this request: not HTTP, or more or other bytes than were asked for"
		}
		return "what came was no answer to this request"
	}
	return "of no known kind"
}

func whyConnect(f load.Failure) string {
	switch {
	case f.Stage == load.Handshaking:
		return "the connection was taken by the kernel, and ended before TLS was agreed on: it waited in the queue of a socket that was closed, or its process ended"
	case strings.Contains(f.Error, "no such file"):
		return "the unix socket was gone: the old process had removed it before the new one had made its own"
	case strings.Contains(f.Error, "timeout"), strings.Contains(f.Error, "deadline"):
		return "no connection came about in time: nobody took connections, and the queue was full"
	}
	return "no connection came about"
}

// whyUnanswered is for a connection that ended before any byte of the answer.
func whyUnanswered(f load.Failure, proto string) string {
	switch {
	case f.Stage == load.Handshaking:
		return "the connection was taken by the kernel, and ended before the WebSocket was agreed on: it waited in the queue of a socket that was closed, or its process ended"
	case proto == load.WebSocket:
		return "the server ended the WebSocket while a message was on its way or being worked on"
	case proto != load.HTTP1:
		return "the server ended the connection while a stream was open that no GOAWAY had refused: it ended, or cut its connections, without waiting"
	case !f.Kept:
		return "the connection was taken by the kernel, but it was closed before the request was answered: it waited in the queue of a socket that was closed, or its process ended without waiting for it"
	case f.Stage == load.Sending:
		return "the server closed a kept connection with a request half sent: it took the connection for idle, as http.Server.Shutdown does, or didn't wait for the rest"
	}
	return "the server closed a kept connection while the request was on its way or being worked on: it closes idle connections without waiting, as http.Server.Shutdown does, or ended before it had answered"
}
