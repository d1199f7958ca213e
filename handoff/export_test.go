package handoff

import (
	"errors"
	"net"
	"os/exec"
	"strings"
	"testing"
)

func TestANameThatTheProtocolCanNotCarryIsRefused(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	conn := ln.(*net.TCPListener)
	for name, says := range map[string]string{
		"http:https":             `':'`,
		`back\slash`:             `'\\'`,
		"two\nlines":             `'\n'`,
		"tab\t":                  `'\t'`,
		"nul\x00":                `'\x00'`,
		"delete\x7f":             `'\x7f'`,
		"h\u00e9":                "printable ASCII",
		strings.Repeat("x", 256): "256 characters, at most 255",
	} {
		cmd := exec.Command("/no/such/program")
		err := Export(cmd, File{Name: "good", Conn: conn}, File{Name: name, Conn: conn})
		if !errors.Is(err, ErrBadName) || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "file 1") {
			t.Errorf("%q: error %v, want ErrBadName that says which file, and %s", name, err, says)
		}
		if cmd.Process != nil {
			t.Errorf("%q: a process was started", name)
		}
	}
	for _, name := range []string{"", "http", ` !"#$%&'()*+,-./;<=>?@[]^_{|}~`, strings.Repeat("x", 255)} {
		if err := checkName(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestAFileWithoutADescriptorIsRefused(t *testing.T) {
	t.Parallel()
	if err := Export(exec.Command("/no/such/program"), File{Name: "http"}); err == nil || !strings.Contains(err.Error(), `"http": it has no Conn`) {
		t.Errorf("got %v", err)
	}
}
