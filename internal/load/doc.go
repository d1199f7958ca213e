// Package load puts counted load on a server and says what was lost.
//
// It exists to tell a zero-downtime upgrade from one that only looks like it,
// so it is stricter than any ordinary client. No request is ever sent twice:
// net/http's Transport quietly replays what it thinks is safe, and with that
// hides exactly the losses that are to be counted. Over HTTP/1.1 a worker
// writes to a net.Conn and reads the answer itself; over HTTP/2 it uses one
// http2.ClientConn, below the layer that retries.
//
// Each request is a POST with a body of its own number, and the answer must be
// that body, byte for byte. The server under load therefore needs one handler:
// it echoes the body with status 200, and names its process in the header
// X-Pid.
//
//	r, err := load.Start(ctx, load.Config{
//		Target:  load.Target{Addr: "127.0.0.1:8080"},
//		Shape:   load.Think(300 * time.Millisecond),
//		Workers: 16,
//	})
//	...
//	r.Mark(time.Now(), "upgrade 1")
//	...
//	res := r.Stop()
//	fmt.Println(res.Requests, res.Failed, res.Failures)
//
// # What counts as a failure
//
// A request is lost, and its worker has failed, from the moment that its first
// byte was written: an end of file, a reset or silence after that is a failure,
// also when the server had closed the idle connection long before and the
// worker could learn it only by writing. What a polite server does before that
// is no failure and is counted apart: "Connection: close" on an answer or a
// GOAWAY ([Counters.Reconnects]), a request that HTTP/2 says was not looked at
// and may be sent again ([Counters.Retryable]; it isn't sent again here), and,
// only where [Config.Peek] is set, a connection that was seen to be closed
// before anything was written ([Counters.ClosedIdle]).
package load
