package handoff

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
)

// systemfdServer answers every question by answer, and tells the questions.
func systemfdServer(t *testing.T, answer string) (addr string, questions <-chan string) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	asked := make(chan string, 1)
	go func() {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		q, _ := io.ReadAll(c)
		asked <- string(q)
		_, _ = io.WriteString(c, answer)
	}()
	return ln.Addr().String(), asked
}

func TestSystemfdIsAskedBySecretAndPid(t *testing.T) {
	t.Parallel()
	addr, asked := systemfdServer(t, "aaaabbbb")
	records, err := askSystemfd(addr, "s3cret", 42, 4)
	if err != nil || fmt.Sprintf("%s", records) != "[aaaa bbbb]" {
		t.Errorf("got %s, %v", records, err)
	}
	if q := <-asked; q != "s3cret|42" {
		t.Errorf("asked %q", q)
	}
}

func TestABadAnswerOfSystemfdIsAnError(t *testing.T) {
	t.Parallel()
	short, _ := systemfdServer(t, "aaaab")
	none, _ := systemfdServer(t, "")
	long, _ := systemfdServer(t, strings.Repeat("a", 4*systemfdMost+4))
	for _, tc := range []struct{ server, secret, wrong, says string }{
		{short, "s", envServer, "no whole number"},
		{long, "s", envServer, "no whole number"},
		{none, "s3cret", envSecret, "no sockets"},
		{"", "s", envServer, "expected an address"},
		{"127.0.0.1:1", "", envSecret, "expected the secret"},
		{"nonsense", "s", envServer, "expected a systemfd that still runs"},
	} {
		_, err := askSystemfd(tc.server, tc.secret, 42, 4)
		var wrong *EnvError
		if !errors.As(err, &wrong) || wrong.Variable != tc.wrong || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("got %v, want it to say %q of %s", err, tc.says, tc.wrong)
		}
		if err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("the error tells the secret: %v", err)
		}
	}
	if records, err := askSystemfd("", "", 42, 4); records != nil || err != nil {
		t.Errorf("got %v, %v without variables", records, err)
	}
}
