package goaway

import "encoding/binary"

// preface is what an HTTP/2 client sends first (RFC 9113, 3.4).
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// Frames as of RFC 9113, 4.1 and 6.
const (
	headerLen = 9 // length (3), type, flags, stream (4)

	kindHeaders      = 0x1
	kindSettings     = 0x4
	kindPushPromise  = 0x5
	kindGoAway       = 0x7
	kindContinuation = 0x9

	flagAck        = 0x1 // of SETTINGS
	flagEndStream  = 0x1 // of HEADERS and DATA
	flagEndHeaders = 0x4
)

// first is a GOAWAY of NO_ERROR that names the highest number of a stream.
var first = []byte{0, 0, 8, kindGoAway, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0}

// fromClient is one that refuses all streams of the server's; it has none.
var fromClient = []byte{0, 0, 8, kindGoAway, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}

// frames follows a stream of frames, which begins with SETTINGS.
type frames struct {
	head   [headerLen]byte
	have   int  // bytes of the next frame's header
	rest   int  // bytes of the payload that are to come
	block  bool // the last frame's fields go on in the next (RFC 9113, 6.10)
	any    bool // a frame has ended
	goAway bool // there was a GOAWAY
	alien  bool // it is no HTTP/2
}

// between tells whether another frame may come in here.
func (f *frames) between() bool {
	return f.any && f.have == 0 && f.rest == 0 && !f.block && !f.alien
}

// next goes on by p. It returns the last place in p at which another frame may
// come in; 0 if there is none after the first byte.
func (f *frames) next(p []byte) (end int) {
	for at := 0; at < len(p) && !f.alien; {
		if f.rest == 0 {
			n := copy(f.head[f.have:], p[at:])
			at += n
			if f.have += n; f.have < headerLen {
				return end
			}
			f.begin()
		}
		n := min(f.rest, len(p)-at)
		at += n
		if f.rest -= n; f.rest == 0 {
			f.any = true
			if !f.block {
				end = at
			}
		}
	}
	return end
}

// begin is called when a frame's header is complete.
func (f *frames) begin() {
	f.have = 0
	f.rest = int(f.head[0])<<16 | int(f.head[1])<<8 | int(f.head[2])
	kind, flags := f.head[3], f.head[4]
	if !f.any && (kind != kindSettings || flags&flagAck != 0 || binary.BigEndian.Uint32(f.head[5:]) != 0) {
		f.alien = true
	}
	switch kind {
	case kindHeaders, kindPushPromise, kindContinuation:
		f.block = flags&flagEndHeaders == 0
	case kindGoAway:
		f.goAway = true
	}
}
