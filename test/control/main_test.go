//go:build linux

package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/handoff-dev/handoff/handoff"
	"github.com/handoff-dev/handoff/test/internal/graceful"
	"github.com/handoff-dev/handoff/test/internal/proctest"
)

func TestMain(m *testing.M) { proctest.Main(m) }

// service is the reference server with a control socket.
type service struct {
	*graceful.Server
	socket string
	client *http.Client
}

// start starts one without probation; flags come after the usual ones.
func start(t *testing.T, flags ...string) *service {
	t.Helper()
	s := prepare(t)
	cmd := proctest.Command(s.Path, append(s.flags(), flags...)...)
	cmd.Dir = s.Dir // by which the command finds it
	s.Run(cmd)
	return s
}

func prepare(t *testing.T) *service {
	t.Helper()
	s := &service{Server: graceful.New(t, "")}
	s.socket = filepath.Join(s.Dir, "control")
	s.client = clientOf(s.socket)
	t.Cleanup(s.client.CloseIdleConnections)
	s.Install(graceful.Build(t, "1"))
	return s
}

func (s *service) flags() []string { return append(s.Flags(), "-control", s.socket) }

func clientOf(socket string) *http.Client {
	return &http.Client{
		Timeout: 30 * time.Second,
		Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		}},
	}
}

// ask sends a request, and returns the answer's status and body.
func (s *service) ask(method, path, body string, accept ...string) (int, []byte, error) {
	req, err := http.NewRequest(method, "http://service"+path, bytes.NewReader([]byte(body)))
	if err != nil {
		return 0, nil, err
	}
	for _, a := range accept {
		req.Header.Set("Accept", a)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, text, err
}

func (s *service) status() handoff.ServiceStatus {
	s.T.Helper()
	st, err := s.tryStatus()
	if err != nil {
		s.T.Fatal(err)
	}
	return st
}

func (s *service) tryStatus() (st handoff.ServiceStatus, err error) {
	code, text, err := s.ask("GET", "/v1/status", "")
	if err != nil || code != 200 {
		return st, errors.Join(err, fmt.Errorf("GET /v1/status: %d %s", code, text))
	}
	err = json.Unmarshal(text, &st)
	return st, err
}

// upgrade asks for an upgrade, and returns the answer.
func (s *service) upgrade(body string) (code int, a handoff.UpgradeAnswer) {
	s.T.Helper()
	code, text, err := s.ask("POST", "/v1/upgrade", body)
	if err == nil {
		err = json.Unmarshal(text, &a)
	}
	if err != nil {
		s.T.Fatalf("POST /v1/upgrade: %v: %s", err, text)
	}
	if a.Outcome == "committed" {
		s.Adopt(a.PID)
	}
	return code, a
}

// lines reads JSON lines until the end.
func lines[T any](t *testing.T, r io.Reader) (all []T) {
	t.Helper()
	in := bufio.NewScanner(r)
	for in.Scan() {
		var v T
		if err := json.Unmarshal(in.Bytes(), &v); err != nil {
			t.Errorf("line %q: %v", in.Text(), err)
		}
		all = append(all, v)
	}
	return all
}

// event is what lines of both kinds of stream have.
type event struct {
	handoff.Event
	Outcome string `json:"outcome"`
}

func missing(path string) error {
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s is there still (%v)", path, err)
	}
	return nil
}
