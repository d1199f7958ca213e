package handoff

import (
	"bufio"
	"io"
	"net"
	"net/http"
)

// upgradeAnswer is the answer to a request that wants another protocol (RFC 9110, 7.8),
// on a connection that is to end with it. If the handler doesn't agree, it is an answer
// like others, and says so: clients such as Java's ask with every request. If it agrees,
// by status 101 or by Hijack, the answer has a Connection header of its own, and the
// client takes no other one.
//
// It has what net/http's own has.
type upgradeAnswer struct {
	http.ResponseWriter
	hijacker http.Hijacker
	reader   io.ReaderFrom
	flusher  interface{ FlushError() error }
	begun    bool
}

// newUpgradeAnswer returns nil for what isn't net/http's own.
func newUpgradeAnswer(w http.ResponseWriter) *upgradeAnswer {
	a := &upgradeAnswer{ResponseWriter: w}
	var has [3]bool
	a.hijacker, has[0] = w.(http.Hijacker)
	a.reader, has[1] = w.(io.ReaderFrom)
	a.flusher, has[2] = w.(interface{ FlushError() error })
	if has != [3]bool{true, true, true} {
		return nil
	}
	return a
}

// begin is called before the header is sent with a status.
func (a *upgradeAnswer) begin(status int) {
	if a.begun || status < 200 && status != http.StatusSwitchingProtocols {
		return
	}
	a.begun = true
	if status != http.StatusSwitchingProtocols {
		a.Header().Set("Connection", "close")
	}
}

// end is when the handler has returned, or panicked.
func (a *upgradeAnswer) end() { a.begin(http.StatusOK) }

func (a *upgradeAnswer) WriteHeader(status int) {
	a.begin(status)
	a.ResponseWriter.WriteHeader(status)
}

func (a *upgradeAnswer) Write(p []byte) (int, error) {
	a.begin(http.StatusOK)
	return a.ResponseWriter.Write(p)
}

func (a *upgradeAnswer) WriteString(s string) (int, error) {
	a.begin(http.StatusOK)
	return io.WriteString(a.ResponseWriter, s)
}

func (a *upgradeAnswer) ReadFrom(r io.Reader) (int64, error) {
	a.begin(http.StatusOK)
	return a.reader.ReadFrom(r)
}

func (a *upgradeAnswer) Flush() { _ = a.FlushError() }

func (a *upgradeAnswer) FlushError() error {
	a.begin(http.StatusOK)
	return a.flusher.FlushError()
}

func (a *upgradeAnswer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := a.hijacker.Hijack()
	a.begun = a.begun || err == nil
	return c, rw, err
}

// Unwrap is for [http.ResponseController].
func (a *upgradeAnswer) Unwrap() http.ResponseWriter { return a.ResponseWriter }
