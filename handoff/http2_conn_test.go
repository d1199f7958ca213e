package handoff

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
)

// frame returns one of a type with a payload of a length.
func frame(kind byte, payload int) []byte {
	return append([]byte{byte(payload >> 16), byte(payload >> 8), byte(payload), kind, 0, 0, 0, 0, 1}, bytes.Repeat([]byte{0xee}, payload)...)
}

// sink is a connection that keeps what is written.
type sink struct {
	net.Conn
	got bytes.Buffer
}

func (s *sink) Write(p []byte) (int, error) { return s.got.Write(p) }

// parts takes a stream apart into its frames' types.
func parts(t *testing.T, stream []byte) (kinds []byte) {
	t.Helper()
	for len(stream) > 0 {
		if len(stream) < 9 {
			t.Fatalf("%d bytes are left over", len(stream))
		}
		n := 9 + int(stream[0])<<16 + int(stream[1])<<8 + int(stream[2])
		if len(stream) < n {
			t.Fatalf("a frame of %d bytes has %d", n, len(stream))
		}
		kinds = append(kinds, stream[3])
		stream = stream[n:]
	}
	return kinds
}

func TestTheFirstGOAWAYComesBetweenTwoFramesHoweverTheyAreWritten(t *testing.T) {
	t.Parallel()
	for seed := range uint64(2000) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		stream := frame(4, 0) // SETTINGS
		for range rnd.IntN(6) {
			stream = append(stream, frame(byte(rnd.IntN(2)), []int{0, 1, 8, 300, 70000}[rnd.IntN(5)])...)
		}
		s := &sink{}
		c := &http2Conn{Conn: s}
		leave := rnd.IntN(len(stream) + 1)
		for at := 0; at < len(stream); {
			if at >= leave {
				c.leave()
			}
			n := min(1+rnd.IntN(500), len(stream)-at)
			if rnd.IntN(2) == 0 {
				n = len(stream) - at
			}
			if m, err := c.Write(stream[at : at+n]); m != n || err != nil {
				t.Fatalf("seed %d: write: %d of %d, %v", seed, m, n, err)
			}
			at += n
		}
		c.leave()
		c.leave()
		got := s.got.Bytes()
		kinds := parts(t, got)
		if n := bytes.Count(kinds, []byte{http2GoAwayType}); n != 1 || kinds[0] != 4 {
			t.Fatalf("seed %d: frames %v, want one GOAWAY after SETTINGS", seed, kinds)
		}
		if rest := bytes.Replace(got, goAwayFirst, nil, 1); !bytes.Equal(rest, stream) {
			t.Fatalf("seed %d: the rest has changed", seed)
		}
	}
}

func TestNoGOAWAYThatPromisesMoreFollowsOneOfNetHTTP(t *testing.T) {
	t.Parallel()
	s := &sink{}
	c := &http2Conn{Conn: s}
	c.Write(append(frame(4, 0), frame(http2GoAwayType, 8)...))
	c.leave()
	c.Write(frame(0, 5))
	if kinds := parts(t, s.got.Bytes()); !bytes.Equal(kinds, []byte{4, http2GoAwayType, 0}) {
		t.Errorf("frames %v", kinds)
	}
}

type source struct {
	net.Conn
	io.Reader
}

func (s source) Read(p []byte) (int, error) { return s.Reader.Read(p) }

func TestThePrefaceOfHTTP2IsTakenAway(t *testing.T) {
	t.Parallel()
	for sent, want := range map[string]string{
		http2Preface + "frames":             "frames",
		"GET / HTTP/1.1\r\nHost: h\r\n\r\n": "",
		http2Preface[:10]:                   "",
	} {
		c := &http2Conn{Conn: source{Reader: strings.NewReader(sent)}, preface: len(http2Preface)}
		got, err := io.ReadAll(c)
		if string(got) != want || (err == nil) != (want != "") {
			t.Errorf("of %q comes %q, %v", sent, got, err)
		}
	}
}
