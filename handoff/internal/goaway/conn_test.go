package goaway

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// frameOf returns one of a kind with a payload of a length.
func frameOf(kind, flags byte, payload int) []byte {
	stream := byte(1)
	if kind == kindSettings {
		stream = 0
	}
	return append([]byte{byte(payload >> 16), byte(payload >> 8), byte(payload), kind, flags, 0, 0, 0, stream}, bytes.Repeat([]byte{0xee}, payload)...)
}

// sink is a connection that keeps what is written, and fails in the midst of it.
type sink struct {
	net.Conn
	got    bytes.Buffer
	limits []int // of the next writes; negative is none
}

func (s *sink) Write(p []byte) (int, error) {
	limit := len(p)
	if len(s.limits) > 0 {
		limit, s.limits = s.limits[0], s.limits[1:]
	}
	if limit < 0 || limit >= len(p) {
		return s.got.Write(p)
	}
	s.got.Write(p[:limit])
	return limit, os.ErrDeadlineExceeded
}

func newTestSet() *Set { return &Set{seen: func() Behaviour { return Behaviour{true, true} }} }

// kinds takes a stream apart. A field block has to be in one piece.
func kinds(t *testing.T, stream []byte) (all []byte) {
	t.Helper()
	block := false
	for len(stream) > 0 {
		n := headerLen
		if len(stream) >= n {
			n += int(stream[0])<<16 + int(stream[1])<<8 + int(stream[2])
		}
		if len(stream) < n {
			t.Fatalf("a frame of %d bytes has %d", n, len(stream))
		}
		kind, flags := stream[3], stream[4]
		if block != (kind == kindContinuation) {
			t.Fatalf("frame %d is %d, in a field block: %v", len(all), kind, block)
		}
		if kind == kindHeaders || kind == kindContinuation {
			block = flags&flagEndHeaders == 0
		}
		all, stream = append(all, kind), stream[n:]
	}
	return all
}

// someFrames begin with SETTINGS.
func someFrames(rnd *rand.Rand) []byte {
	sizes := []int{0, 1, 8, 300, 70000}
	stream := frameOf(kindSettings, 0, 6)
	for range rnd.IntN(6) {
		if rnd.IntN(2) == 0 {
			stream = append(stream, frameOf(0, 0, sizes[rnd.IntN(5)])...)
			continue
		}
		stream = append(stream, frameOf(kindHeaders, 0, sizes[rnd.IntN(4)])...)
		for rnd.IntN(2) == 0 {
			stream = append(stream, frameOf(kindContinuation, 0, sizes[rnd.IntN(4)])...)
		}
		stream = append(stream, frameOf(kindContinuation, flagEndHeaders, sizes[rnd.IntN(4)])...)
	}
	return stream
}

func TestTheFirstGOAWAYComesBetweenTwoFramesHoweverTheyAreWritten(t *testing.T) {
	t.Parallel()
	for seed := range uint64(2000) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		stream := someFrames(rnd)
		s := &sink{}
		c := &Conn{raw: s, set: newTestSet()}
		leave := rnd.IntN(len(stream) + 1)
		for at := 0; at < len(stream); {
			if at >= leave {
				c.leave()
			}
			n := len(stream) - at
			if rnd.IntN(2) == 0 {
				n = min(1+rnd.IntN(500), n)
			}
			if rnd.IntN(3) == 0 { // a deadline
				s.limits = []int{rnd.IntN(40), rnd.IntN(20), rnd.IntN(20)}[:1+rnd.IntN(3)]
			}
			m, err := c.Write(stream[at : at+n])
			if (m == n) != (err == nil) && !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("seed %d: write: %d of %d, %v", seed, m, n, err)
			}
			at += m
		}
		s.limits = nil
		c.leave()
		c.leave()
		c.Write(frameOf(0, 0, 0))
		stream = append(stream, frameOf(0, 0, 0)...)
		got := s.got.Bytes()
		all := kinds(t, got)
		if n := bytes.Count(all, []byte{kindGoAway}); n != 1 || all[0] != kindSettings {
			t.Fatalf("seed %d: frames %v, want one GOAWAY after SETTINGS", seed, all)
		}
		if rest := bytes.Replace(got, first, nil, 1); !bytes.Equal(rest, stream) {
			t.Fatalf("seed %d: the rest has changed", seed)
		}
	}
}

func TestNoGOAWAYThatPromisesMoreFollowsTheServers(t *testing.T) {
	t.Parallel()
	s := &sink{}
	c := &Conn{raw: s, set: newTestSet()}
	c.Write(append(frameOf(kindSettings, 0, 0), frameOf(kindGoAway, 0, 8)...))
	c.leave()
	c.Write(frameOf(0, 0, 5))
	if all := kinds(t, s.got.Bytes()); !bytes.Equal(all, []byte{kindSettings, kindGoAway, 0}) {
		t.Errorf("frames %v", all)
	}
}

func TestAnAnswerThatIsNotHTTP2StaysAsItIs(t *testing.T) {
	t.Parallel()
	s := &sink{}
	c := &Conn{raw: s, set: newTestSet()}
	c.begun([]byte(preface))
	const answer = "HTTP/1.1 505 HTTP Version Not Supported\r\n\r\n"
	for i := range answer {
		c.Write([]byte(answer[i : i+1]))
		c.leave()
	}
	if s.got.String() != answer || len(c.set.conns) != 0 {
		t.Errorf("%q, %d in the set", s.got.String(), len(c.set.conns))
	}
}

// source is a connection from which comes what is sent, in pieces of a size at most.
type source struct {
	net.Conn
	from io.Reader
	most int
}

func (s *source) Read(p []byte) (int, error)      { return s.from.Read(p[:min(s.most, len(p))]) }
func (s *source) SetReadDeadline(time.Time) error { return nil }

func TestTheClientsGOAWAYIsReadBetweenTwoFramesHoweverTheyCome(t *testing.T) {
	t.Parallel()
	for seed := range uint64(2000) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		stream := append([]byte(preface), someFrames(rnd)...)
		c := &Conn{raw: &source{from: bytes.NewReader(stream), most: 1 + rnd.IntN(30000)}, set: newTestSet()}
		dismiss := rnd.IntN(len(stream) + 1)
		var got []byte
		for err := error(nil); err == nil; {
			if len(got) >= dismiss {
				c.dismiss()
			}
			p := make([]byte, 1+rnd.IntN(20000))
			var n int
			n, err = c.Read(p)
			got = append(got, p[:n]...)
		}
		if rest := bytes.Replace(got, fromClient, nil, 1); !bytes.Equal(rest, stream) {
			t.Fatalf("seed %d: the rest has changed", seed)
		}
		all := kinds(t, got[len(preface):])
		if n := bytes.Count(all, []byte{kindGoAway}); n > 1 || n == 0 && dismiss < len(stream) && c.in.between() && len(c.inject) == 0 {
			t.Fatalf("seed %d: frames %v", seed, all)
		}
	}
}

func TestAReadThatWaitsIsWokenToDismissAndKeepsItsDeadline(t *testing.T) {
	t.Parallel()
	client, server := net.Pipe()
	defer client.Close()
	c := &Conn{raw: server, set: newTestSet()}
	c.SetReadDeadline(time.Now().Add(time.Hour))
	var sending sync.WaitGroup
	sending.Go(func() { client.Write(append([]byte(preface), frameOf(kindSettings, 0, 0)...)) })
	p := make([]byte, 100)
	if _, err := io.ReadFull(c, p[:len(preface)+headerLen]); err != nil {
		t.Fatal(err)
	}
	sending.Wait()
	go func() {
		for {
			c.rmu.Lock()
			reading := c.reading
			c.rmu.Unlock()
			if reading {
				break
			}
			time.Sleep(time.Millisecond)
		}
		c.dismiss()
		c.SetReadDeadline(time.Now().Add(2 * time.Hour)) // as net/http does for each request
	}()
	n, err := c.Read(p)
	if err != nil || !bytes.Equal(p[:n], fromClient) {
		t.Fatalf("%v, %v", p[:n], err)
	}
	go client.Write([]byte{1})
	if n, err := c.Read(p); n != 1 || err != nil {
		t.Errorf("after that: %d, %v", n, err)
	}
	c.SetReadDeadline(time.Now())
	if _, err := c.Read(p); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the server's own deadline: %v", err)
	}
}

func TestThePrefaceIsTakenAway(t *testing.T) {
	t.Parallel()
	for sent, want := range map[string]string{
		preface + "frames":                  "frames",
		"GET / HTTP/1.1\r\nHost: h\r\n\r\n": "",
		preface[:10]:                        "",
	} {
		c := &Conn{raw: &source{from: strings.NewReader(sent), most: 100}, set: newTestSet(), strip: true}
		got, err := io.ReadAll(c)
		if string(got) != want || (err == nil) != (want != "") {
			t.Errorf("of %q comes %q, %v", sent, got, err)
		}
	}
}

func TestOnlyHTTP2IsInTheSet(t *testing.T) {
	t.Parallel()
	for read, want := range map[string]int{preface: 1, preface + "x": 1, preface[:20] + "????": 0} {
		for cut := range len(read) - 1 {
			s := newTestSet()
			f := s.Follow(&source{from: strings.NewReader(read[cut+1:]), most: 3}, []byte(read[:cut+1]))
			if f == nil && cut < 20 {
				t.Fatalf("%q is not followed", read[:cut+1])
			}
			if f != nil {
				io.ReadAll(f)
			}
			if len(s.conns) != want {
				t.Errorf("%q, cut at %d: %d in the set, want %d", read, cut, len(s.conns), want)
			}
		}
	}
	if f := newTestSet().Follow(nil, []byte("PROPFIND / HTTP/1.1")); f != nil {
		t.Error("HTTP/1.1 is followed")
	}
}
