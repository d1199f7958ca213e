package activate

import (
	"io"
	"net"
	"strings"
	"testing"
)

func TestSystemfdsProtocolAnswersTheSecretOnly(t *testing.T) {
	t.Parallel()
	s, err := newSystemfd(func(pid uint32) ([]byte, error) { return []byte(strings.Repeat("record.", int(pid))), nil })
	if err != nil {
		t.Fatal(err)
	}
	defer s.server.Close()
	go s.serve()
	env := Environ{}.With(s.variables()...)
	address := strings.TrimPrefix(env[0], "SYSTEMFD_SOCKET_SERVER=")
	secret := strings.TrimPrefix(env[1], "SYSTEMFD_SOCKET_SECRET=")
	if len(secret) < 20 {
		t.Errorf("the secret is %q", secret)
	}
	for question, want := range map[string]string{
		secret + "|2": "record.record.", secret + "|": "", secret + "|x": "", secret: "", "|2": "", secret[1:] + "|2": "", "": "",
	} {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(c, question)
		c.(*net.TCPConn).CloseWrite()
		if got, err := io.ReadAll(c); err != nil || string(got) != want {
			t.Errorf("%q: %q, %v, want %q", question, got, err, want)
		}
		c.Close()
	}
}
