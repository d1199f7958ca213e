package supervise

import (
	"fmt"
	"strings"
	"time"
)

// Ready is how a new copy of the program is known to be ready. The zero value is by
// sd_notify(3) where the program speaks it: a copy is ready with its READY=1. One that
// has said nothing at all a second after its start is taken as ready if it still lives,
// but only as long as no copy has ever said READY=1; from then on each has to.
type Ready struct {
	kind readyKind
	// after is how long a copy has to live.
	after time.Duration
	// text is a command or a path.
	text string
}

type readyKind int

const (
	readyAuto readyKind = iota
	readyNotify
	readyAfter
	readyExec
	readyHTTP
)

// grace is after which time a program that says nothing by sd_notify(3) is believed not
// to speak it.
const grace = time.Second

// ParseReady reads the value of --ready: "auto", "notify", "after=DURATION",
// "exec=COMMAND" or "http=PATH".
func ParseReady(text string) (Ready, error) {
	word, value, has := strings.Cut(text, "=")
	switch word {
	case "auto", "notify":
		if has {
			return Ready{}, fmt.Errorf("%q: %s takes no value", text, word)
		}
		if word == "notify" {
			return Ready{kind: readyNotify}, nil
		}
		return Ready{}, nil
	case "after":
		d, err := time.ParseDuration(value)
		if err != nil || d < 0 {
			return Ready{}, fmt.Errorf("%q: want a duration, such as after=1s", text)
		}
		return Ready{kind: readyAfter, after: d}, nil
	case "exec":
		if strings.TrimSpace(value) == "" {
			return Ready{}, fmt.Errorf("%q: want a command, such as exec='test -e /run/app.ready'", text)
		}
		return Ready{kind: readyExec, text: value}, nil
	case "http":
		if !strings.HasPrefix(value, "/") || strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
			return Ready{}, fmt.Errorf("%q: want a path, such as http=/healthz", text)
		}
		return Ready{kind: readyHTTP, text: value}, nil
	}
	return Ready{}, fmt.Errorf("%q is none of notify, after=DURATION, exec=COMMAND, http=PATH and auto", text)
}

// String is what ParseReady reads.
func (r Ready) String() string {
	switch r.kind {
	case readyNotify:
		return "notify"
	case readyAfter:
		return "after=" + r.after.String()
	case readyExec:
		return "exec=" + r.text
	case readyHTTP:
		return "http=" + r.text
	}
	return "auto"
}
