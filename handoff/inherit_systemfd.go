package handoff

import (
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// The variables of systemfd's protocol on Windows, where no descriptor survives
// the start of a process.
const (
	envServer = "SYSTEMFD_SOCKET_SERVER"
	envSecret = "SYSTEMFD_SOCKET_SECRET"
)

const (
	systemfdTimeout = 10 * time.Second
	systemfdMost    = 4096 // sockets
)

// askSystemfd asks the server for what it shares with the process pid: the
// secret, a bar and the pid, answered by one record of size bytes a socket.
func askSystemfd(server, secret string, pid, size int) ([][]byte, error) {
	switch {
	case server == "" && secret == "":
		return nil, nil
	case server == "":
		return nil, &EnvError{Variable: envServer, Reason: "expected an address, as " + envSecret + " is set"}
	case secret == "":
		return nil, &EnvError{Variable: envSecret, Reason: "expected the secret, as " + envServer + " is set"}
	}
	refuse := func(reason string, err error) error {
		return &EnvError{Variable: envServer, Value: server, Err: err, Reason: fmt.Sprintf("%s: %v", reason, err)}
	}
	c, err := net.DialTimeout("tcp", server, systemfdTimeout)
	if err != nil {
		return nil, refuse("expected a systemfd that still runs", err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(systemfdTimeout))
	if _, err := fmt.Fprintf(c, "%s|%d", secret, pid); err != nil {
		return nil, refuse("systemfd took no question", err)
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		return nil, refuse("systemfd took no question", err)
	}
	answer, err := io.ReadAll(io.LimitReader(c, int64(systemfdMost*size+1)))
	if err != nil {
		return nil, refuse("systemfd gave no answer", err)
	}
	if len(answer) == 0 {
		return nil, &EnvError{Variable: envSecret, Value: "(hidden)", Reason: "systemfd gave no sockets for it, perhaps it is an earlier one's"}
	}
	if len(answer)%size != 0 { // or longer than the limit, whose last byte makes it odd
		return nil, refuse("systemfd's answer is broken", errors.New("it is no whole number of socket records"))
	}
	var records [][]byte
	for ; len(answer) > 0; answer = answer[size:] {
		records = append(records, answer[:size:size])
	}
	return records, nil
}
