package goaway

import (
	"io"
	"net/http"
	"testing"
	"time"
)

func TestTheNetHTTPOfThisGoDoesAllThatIsAssumedOfIt(t *testing.T) {
	t.Parallel()
	if seen := native(); seen != (Behaviour{Serves: true, Answers: true}) {
		t.Errorf("%+v", seen)
	}
}

func BenchmarkCheck(b *testing.B) {
	scratch := &http.Server{}
	_ = scratch.Serve(noConn{})
	serve := serveFunc(serveAny)
	if p := scratch.TLSNextProto[overPlain]; p != nil {
		serve = serveHidden(p)
	}
	for b.Loop() {
		if !check(serve).Answers {
			b.Fatal("no")
		}
	}
}

// served serves by net/http, with what it is given changed.
func served(change func(stated) stated) serveFunc {
	return func(c stated, h http.Handler) {
		if its := facts()[overPlain]; its != nil {
			c.(*statedConn).conn.strip = true
			its(&http.Server{ErrorLog: discard}, hide(change(c)), h)
			return
		}
		serveAny(change(c), h)
	}
}

func facts() map[string]serveProto {
	scratch := &http.Server{}
	_ = scratch.Serve(noConn{})
	return scratch.TLSNextProto
}

// deafConn keeps GOAWAY from whoever reads from it.
type deafConn struct {
	stated
	in frames
	n  int
}

func (c *deafConn) Read(p []byte) (int, error) {
	n, err := c.stated.Read(p)
	for i := range p[:n] {
		if c.n++; facts()[overPlain] == nil && c.n <= len(preface) {
			continue
		}
		if c.in.have == 3 && p[i] == kindGoAway {
			p[i] = 0x77 // a kind that nobody knows
		}
		c.in.next(p[i : i+1])
	}
	return n, err
}

// cutConn ends when the first GOAWAY has been put in.
type cutConn struct{ stated }

func (c cutConn) Read(p []byte) (int, error) {
	w := c.stated.(*statedConn)
	n, err := w.Read(p)
	w.conn.wmu.Lock()
	defer w.conn.wmu.Unlock()
	if w.conn.told {
		return 0, io.EOF
	}
	return n, err
}

func TestEachAssumptionThatDoesNotHoldIsSeen(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		serve serveFunc
		want  Behaviour
	}{
		"all hold":                 {served(func(c stated) stated { return c }), Behaviour{true, true}},
		"the connection is closed": {func(stated, http.Handler) {}, Behaviour{}},
		"HTTP/1.1 is spoken": {func(c stated, h http.Handler) {
			io.ReadFull(c, make([]byte, len(preface)))
			io.WriteString(c, "HTTP/1.1 505 HTTP Version Not Supported\r\n\r\n")
		}, Behaviour{}},
		"the request isn't by TLS": {func(c stated, h http.Handler) {
			served(func(c stated) stated { return c })(c, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				r.TLS = nil
				h.ServeHTTP(w, r)
			}))
		}, Behaviour{}},
		"the first GOAWAY ends it":       {served(func(c stated) stated { return cutConn{c} }), Behaviour{}},
		"the client's GOAWAY is ignored": {served(func(c stated) stated { return &deafConn{stated: c} }), Behaviour{Serves: true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			limit := checkTimeout
			if !tc.want.Answers {
				limit = time.Second // some of them wait for what never comes
			}
			if seen := checkWithin(limit, tc.serve); seen != tc.want {
				t.Errorf("%+v, want %+v", seen, tc.want)
			}
		})
	}
}
