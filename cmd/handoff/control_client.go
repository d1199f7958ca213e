package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/handoff-dev/handoff/handoff"
	"github.com/handoff-dev/handoff/internal/control"
	"github.com/handoff-dev/handoff/internal/unixpath"
)

// controlClient speaks to a control socket. Each request has a connection of its own,
// for the process at the other end changes.
type controlClient struct {
	http http.Client
	path string
}

func newControlClient(path string) *controlClient { return newClientOf(service{socket: path}) }

// newClientOf returns one that says nothing to another service than s, where s was found
// by a process. Each connection is looked at: what lies at the path can change.
func newClientOf(s service) *controlClient {
	path := s.socket
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		if err := unixpath.Check(path); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		c, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "unix", path)
		if err != nil || s.pid == 0 {
			return c, err
		}
		if err := s.isMeant(c); err != nil {
			c.Close()
			return nil, err
		}
		return c, nil
	}
	return &controlClient{http: http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}, path: path}
}

// faultError is an answer that says why there is none.
type faultError struct {
	handoff.Fault
	status int
}

func (e *faultError) Error() string {
	if e.Message == "" {
		return fmt.Sprintf("the service answers with HTTP status %d", e.status)
	}
	return e.Message
}

// errSchema says that the service is newer than this command.
var errSchema = errors.New("the service speaks another schema than this command: update it")

// do sends a request, again for as long as the service is just being handed over.
func (c *controlClient) do(ctx context.Context, method, path, accept string, body []byte) (*http.Response, error) {
	for try := 0; ; try++ {
		req, err := http.NewRequestWithContext(ctx, method, "http://service"+path, bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		if accept != "" {
			req.Header.Set("Accept", accept)
		}
		resp, err := c.http.Do(req)
		if err != nil {
			return nil, c.explain(err)
		}
		if resp.StatusCode != http.StatusServiceUnavailable || try == 50 {
			return resp, nil
		}
		resp.Body.Close()
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// explain adds what can be done about it.
func (c *controlClient) explain(err error) error {
	switch {
	case errors.Is(err, control.ErrOther):
		return noService(err, "nothing was asked of it; name the service by its --unit or by --socket")
	case errors.Is(err, fs.ErrNotExist):
		return noService(fmt.Errorf("there is no control socket at %s", c.path), "")
	case errors.Is(err, syscall.ECONNREFUSED):
		return noService(fmt.Errorf("nobody listens at %s: the service has ended", c.path), "")
	case errors.Is(err, fs.ErrPermission):
		return noService(fmt.Errorf("%s may not be connected to: %w", c.path, fs.ErrPermission), "run it as root or as the service's user")
	}
	return err
}

// get decodes the answer to a request.
func (c *controlClient) get(ctx context.Context, path string, into any) error {
	resp, err := c.do(ctx, http.MethodGet, path, "", nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fault(resp.StatusCode, text)
	}
	return json.Unmarshal(text, into)
}

func fault(status int, text []byte) error {
	e := &faultError{status: status}
	_ = json.Unmarshal(text, &e.Fault)
	return e
}

func (c *controlClient) status(ctx context.Context) (handoff.ServiceStatus, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, 10*time.Second, errors.New("the service doesn't answer within 10 s"))
	defer cancel()
	var s handoff.ServiceStatus
	err := c.get(ctx, "/v1/status", &s)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err == nil && s.Schema != handoff.StatusSchema {
		err = errSchema
	}
	return s, err
}

// upgrade asks for an upgrade, calls progress with what is told meanwhile, and returns
// the answer. An error that is errLost says that the outcome is unknown.
func (c *controlClient) upgrade(ctx context.Context, order any, progress func(handoff.Event)) (a handoff.UpgradeAnswer, err error) {
	body, err := json.Marshal(order)
	if err != nil {
		return a, err
	}
	resp, err := c.do(ctx, http.MethodPost, "/v1/upgrade", "application/jsonl", body)
	if err != nil {
		return a, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
		return a, fault(resp.StatusCode, text)
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		var e handoff.Event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return a, fmt.Errorf("%w: %w", errLost, err)
		}
		if e.Type != "result" {
			progress(e)
			continue
		}
		if err := json.Unmarshal(lines.Bytes(), &a); err != nil {
			return a, fmt.Errorf("%w: %w", errLost, err)
		}
		if a.Schema != handoff.StatusSchema {
			return a, errSchema
		}
		return a, nil
	}
	return a, fmt.Errorf("%w: %w", errLost, errors.Join(lines.Err(), io.ErrUnexpectedEOF))
}

// errLost says that the connection was lost before the outcome was told.
var errLost = errors.New("the connection to the service was lost")
