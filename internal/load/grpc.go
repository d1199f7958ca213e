package load

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// healthPath is the method of grpc/health/v1/health.proto that answers once.
const healthPath = "/grpc.health.v1.Health/Check"

// health asks for a gRPC service's health in the few bytes that this takes,
// without the gRPC library: that one sends again what was refused.
type health struct{ question []byte }

// newHealth asks about a service; "" is the whole server.
func newHealth(service string) *health {
	var message []byte // HealthCheckRequest{string service = 1}
	if service != "" {
		message = binary.AppendUvarint([]byte{1<<3 | 2}, uint64(len(service)))
		message = append(message, service...)
	}
	// A message's frame: not compressed, its length (gRPC over HTTP/2).
	question := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message)))
	return &health{append(question, message...)}
}

// serving is a frame with HealthCheckResponse{status = 1: SERVING}.
var serving = []byte{0, 0, 0, 0, 2, 1 << 3, 1}

func (h *health) judge(cfg *Config, res *http.Response) answer {
	a := answer{stage: Answering, pid: cfg.ids.of(res.Header.Get(cfg.Target.Identity))}
	got, err := io.ReadAll(io.LimitReader(res.Body, maxSurplus))
	status := res.Trailer.Get("Grpc-Status")
	message := res.Trailer.Get("Grpc-Message")
	if status == "" { // an answer of trailers alone
		status, message = res.Header.Get("Grpc-Status"), res.Header.Get("Grpc-Message")
	}
	switch {
	case res.StatusCode != http.StatusOK:
		a.kind, a.err = Status, errors.New(res.Status)
	case err != nil:
		a.kind, a.err = brokenKind(err, true), err
	case status == "":
		a.kind, a.err = Truncated, fmt.Errorf("the answer ended without a grpc-status: %w", io.ErrUnexpectedEOF)
	case status != "0":
		a.kind, a.err = Status, fmt.Errorf("grpc-status %s: %s", status, message)
	case !bytes.Equal(got, serving):
		a.kind, a.err = Status, fmt.Errorf("the health is %s, not SERVING", healthText(got))
	}
	return a
}

func healthText(frame []byte) string {
	switch {
	case len(frame) == 5:
		return "UNKNOWN"
	case len(frame) == 7 && frame[6] == 2:
		return "NOT_SERVING"
	case len(frame) == 7 && frame[6] == 3:
		return "SERVICE_UNKNOWN"
	}
	return fmt.Sprintf("%x", frame)
}
