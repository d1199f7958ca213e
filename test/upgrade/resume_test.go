//go:build linux

package upgrade

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/handoff-dev/handoff/test/internal/graceful"
	"github.com/handoff-dev/handoff/test/internal/proctest"
)

// resumer is a client of TLS that keeps its last session.
type resumer struct{ config *tls.Config }

func newResumer(version uint16) resumer {
	return resumer{&tls.Config{
		InsecureSkipVerify: true, // each generation makes its own certificate
		MinVersion:         version,
		MaxVersion:         version,
		ServerName:         "localhost",
		ClientSessionCache: tls.NewLRUClientSessionCache(1),
	}}
}

// visit makes a connection and a request; in TLS 1.3 the ticket comes with its answer.
func (r resumer) visit(t *testing.T, addr string) (resumed bool) {
	t.Helper()
	dialer := &net.Dialer{Deadline: proctest.Deadline(t)}
	conn, err := tls.DialWithDialer(dialer, "tcp", addr, r.config)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(proctest.Deadline(t))
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}
	return conn.ConnectionState().DidResume
}

func visits(t *testing.T, addr string, clients []resumer) (resumed int) {
	t.Helper()
	for _, c := range clients {
		if c.visit(t, addr) {
			resumed++
		}
	}
	return resumed
}

func TestClientsOfTLSResumeTheirSessionsWithTheSuccessor(t *testing.T) {
	const n = 200
	s := graceful.New(t, "")
	s.Install(graceful.BuildPlain(t, "1"))
	s.Run(proctest.Command(s.Path, s.Flags()...))
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		clients := make([]resumer, n)
		for i := range clients {
			clients[i] = newResumer(version)
		}
		if resumed := visits(t, s.TLS, clients); resumed > 0 {
			t.Errorf("%d sessions were resumed that nobody had", resumed)
		}
		for range 2 { // the second successor has the keys from the first
			s.Reload()
			resumed := visits(t, s.TLS, clients)
			t.Logf("%s: %d of %d sessions were resumed after an upgrade", tls.VersionName(version), resumed, n)
			if resumed < n*99/100 {
				t.Errorf("%d of %d sessions were resumed", resumed, n)
			}
		}
		plain := 0
		for i := range 2 {
			plain = restartedPlainServer(t, clients[:n/4])
			if plain > 0 {
				t.Errorf("restart %d: %d sessions were resumed by a server that has not their keys", i, plain)
			}
		}
	}
	s.Stop()
}

// restartedPlainServer is net/http's alone, with a certificate of its own.
func restartedPlainServer(t *testing.T, clients []resumer) (resumed int) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{TLSConfig: &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}}
	defer srv.Close()
	go srv.ServeTLS(ln, "", "")
	return visits(t, ln.Addr().String(), clients)
}

func TestASuccessorsEnvironmentHasNoRoomForAKey(t *testing.T) {
	s := graceful.Start(t)
	newResumer(tls.VersionTLS13).visit(t, s.TLS) // so that there are keys
	pid := s.Upgrade()
	environ := func(pid int) map[string]string {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if err != nil {
			t.Fatal(err)
		}
		vars := make(map[string]string)
		for _, v := range strings.Split(string(text), "\x00") {
			name, value, _ := strings.Cut(v, "=")
			vars[name] = value
		}
		return vars
	}
	known := make(map[string]bool)
	for _, v := range s.First.Cmd.Env {
		name, _, _ := strings.Cut(v, "=")
		known[name] = true
	}
	for name, value := range environ(pid) {
		switch {
		case known[name], strings.HasPrefix(name, "LISTEN_"), name == "NOTIFY_SOCKET":
		case len(strings.ReplaceAll(value, s.Path, "")) >= 32: // the stage's order names the program
			t.Errorf("%s=%s is as long as a key", name, value)
		}
	}
	s.Stop()
}
