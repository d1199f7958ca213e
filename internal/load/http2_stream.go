package load

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"golang.org/x/net/http2"
)

// refusedError is of a request at which the server says that it hasn't looked.
type refusedError struct{ text string }

func (e refusedError) Error() string { return e.text }

// resetError is the code with which the server ended a request's stream.
type resetError http2.ErrCode

func (e resetError) Error() string { return "stream reset by the server: " + http2.ErrCode(e).String() }

// http2Stream is a request and its answer. Until it is over, what isn't said to
// be otherwise is guarded by the connection's mutex.
type http2Stream struct {
	id     uint32
	room   int64 // what the server's window lets it send; negative: less than nothing
	owed   int64 // what came, and wasn't given back to our window
	noBody bool  // an answer has none, whatever its header says
	keep   int   // the bytes of a body that are kept; negative: it isn't looked at

	res   *http.Response // nil: nothing came
	head  int            // the size of all headers, of trailers and of 1xx too
	body  *bytes.Buffer
	got   int64 // the body's length
	whole bool  // the server has ended its side
	over  bool
	err   error // why it is over, if not because the answer is whole

	sent   bool          // all of the request was; the sender's
	paused time.Duration // the sender's
}

// newHTTP2Stream keeps in body what comes of an answer to a request whose body
// has the length.
func newHTTP2Stream(t *Target, length int, body *bytes.Buffer) *http2Stream {
	body.Reset()
	s := &http2Stream{body: body, keep: length + maxSurplus, noBody: t.Method == http.MethodHead}
	if t.Proto == GRPCHealth {
		s.noBody = false
	} else if t.Accept != nil {
		s.keep = -1
	}
	return s
}

func (s *http2Stream) end(err error) {
	if !s.over {
		s.over, s.err = true, err
	}
}

// header takes the fields of an answer, or of its trailer.
func (s *http2Stream) header(f *http2.MetaHeadersFrame) error {
	for _, field := range f.Fields {
		s.head += int(field.Size())
	}
	if f.Truncated || s.head > maxHeader {
		return errHeader
	}
	if s.res != nil {
		if !f.StreamEnded() {
			return errors.New("a second header came within an answer")
		}
		s.res.Trailer = fields(f)
		return s.finish()
	}
	code, err := strconv.Atoi(f.PseudoValue("status"))
	switch {
	case err != nil || code < 100 || code > 999:
		return fmt.Errorf("the answer's status is %q", f.PseudoValue("status"))
	case code < 200:
		return nil // the answer is yet to come
	}
	s.res = &http.Response{
		Proto: "HTTP/2.0", ProtoMajor: 2,
		StatusCode: code, Status: strconv.Itoa(code) + " " + http.StatusText(code),
		Header: fields(f), ContentLength: -1,
	}
	if n, err := strconv.ParseInt(s.res.Header.Get("Content-Length"), 10, 64); err == nil && n >= 0 {
		s.res.ContentLength = n
	}
	if code == http.StatusNoContent || code == http.StatusNotModified {
		s.noBody = true
	}
	if f.StreamEnded() {
		return s.finish()
	}
	return nil
}

func fields(f *http2.MetaHeadersFrame) http.Header {
	h := http.Header{}
	for _, field := range f.RegularFields() {
		h.Add(field.Name, field.Value)
	}
	return h
}

// data takes a piece of an answer's body.
func (s *http2Stream) data(f *http2.DataFrame) error {
	if s.res == nil {
		return errors.New("a body came before its header")
	}
	p := f.Data()
	s.got += int64(len(p))
	if s.keep >= 0 {
		s.body.Write(p[:min(len(p), s.keep-s.body.Len())])
		if s.got > int64(s.keep) {
			s.end(nil) // it is another answer anyway
			return nil
		}
	}
	if f.StreamEnded() {
		return s.finish()
	}
	return nil
}

// finish is called at the end that the server gave to its answer.
func (s *http2Stream) finish() error {
	s.whole = true
	want := s.res.ContentLength
	switch {
	case s.noBody, want < 0, s.got == want:
		s.end(nil)
	case s.got < want:
		s.end(io.ErrUnexpectedEOF)
	default:
		s.end(fmt.Errorf("a body of %d bytes came, of which %d were announced", s.got, want))
	}
	return nil
}

// response is what came, for a stream that is over; err is what its body ends
// in, if not in its end. It is nil where nothing came.
func (s *http2Stream) response(err error) *http.Response {
	if s.res == nil {
		return nil
	}
	if err == nil {
		err = io.EOF
	}
	s.res.Body = io.NopCloser(io.MultiReader(s.body, failingReader{err}))
	return s.res
}

type failingReader struct{ err error }

func (r failingReader) Read([]byte) (int, error) { return 0, r.err }
