package activate

import (
	"crypto/rand"
	"crypto/subtle"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/handoff-dev/handoff/internal/shortage"
)

// systemfd gives out duplicates of sockets on request, which is how systemfd passes them
// on Windows, where no descriptor survives the start of a process. A client sends the
// secret, a bar and its pid, and gets a record for each socket.
type systemfd struct {
	server net.Listener
	secret string
	// records are those of all sockets, for the process.
	records func(pid uint32) ([]byte, error)
}

func newSystemfd(records func(pid uint32) ([]byte, error)) (*systemfd, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	return &systemfd{server: ln, secret: rand.Text(), records: records}, nil
}

func (s *systemfd) variables() []string {
	return []string{"SYSTEMFD_SOCKET_SERVER=" + s.server.Addr().String(), "SYSTEMFD_SOCKET_SECRET=" + s.secret}
}

// serve answers until the server is closed.
func (s *systemfd) serve() {
	var pause shortage.Pause
	for {
		c, err := s.server.Accept()
		if err != nil {
			if pause.Wait(err, nil) {
				continue
			}
			return
		}
		pause.Over()
		go func() {
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(10 * time.Second))
			_ = s.answer(c) // who asks wrongly gets nothing, and sees that
		}()
	}
}

func (s *systemfd) answer(c io.ReadWriter) error {
	question, err := io.ReadAll(io.LimitReader(c, 256))
	if err != nil {
		return err
	}
	secret, text, _ := strings.Cut(string(question), "|")
	if subtle.ConstantTimeCompare([]byte(secret), []byte(s.secret)) != 1 {
		return fmt.Errorf("a wrong secret")
	}
	pid, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return err
	}
	records, err := s.records(uint32(pid))
	if err != nil {
		return err
	}
	_, err = c.Write(records)
	return err
}
