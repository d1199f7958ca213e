//go:build linux

package http3

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/handoff-dev/handoff/test/internal/graceful"
	"github.com/handoff-dev/handoff/test/internal/proctest"
	"github.com/quic-go/quic-go/http3"
)

func TestMain(m *testing.M) { proctest.Main(m) }

func start(t *testing.T, flags ...string) *graceful.Server {
	t.Helper()
	s := graceful.New(t, "")
	s.Install(proctest.Build(t, proctest.Program{Package: "./server", Race: true}))
	s.Run(proctest.Command(s.Path, append([]string{"-address", s.UDP, "-pid-file", s.PIDFile, "-probation", "100ms"}, flags...)...))
	return s
}

// client returns one with no connection so far.
func client(t *testing.T) *http.Client {
	transport := &http3.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} // it is the server's own
	t.Cleanup(func() { transport.Close() })
	return &http.Client{Transport: transport, Timeout: 30 * time.Second}
}

// generation asks who answers.
func generation(c *http.Client, address string) (int, error) {
	resp, err := c.Get("https://" + address + "/")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("%s: %q, %v", resp.Status, text, err)
	}
	return strconv.Atoi(string(text))
}

const size = 400_000

// download gets a slow body, and says on begun which generation sends it.
func download(c *http.Client, address string, begun chan<- string) error {
	resp, err := c.Get(fmt.Sprintf("https://%s/slow?n=%d&ms=3000", address, size))
	if err != nil {
		begun <- err.Error()
		return err
	}
	defer resp.Body.Close()
	begun <- resp.Header.Get("Generation")
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("after %d bytes: %w", len(got), err)
	}
	if len(got) != size {
		return fmt.Errorf("%d bytes, want %d", len(got), size)
	}
	for i, b := range got {
		if want := byte(i/(size/100) + i%(size/100)); b != want {
			return fmt.Errorf("byte %d is %d, want %d", i, b, want)
		}
	}
	return nil
}

// upload sends a slow body.
func upload(c *http.Client, address string, begun chan<- string) error {
	body := bytes.Repeat([]byte("upload!"), size/7)
	read, write := io.Pipe()
	go func() {
		for rest := body; len(rest) > 0; {
			n := min(len(rest), size/100)
			if _, err := write.Write(rest[:n]); err != nil {
				return
			}
			rest = rest[n:]
			time.Sleep(30 * time.Millisecond)
		}
		write.Close()
	}()
	resp, err := c.Post("https://"+address+"/sum", "text/plain", read)
	if err != nil {
		begun <- err.Error()
		return err
	}
	defer resp.Body.Close()
	begun <- resp.Header.Get("Generation")
	got, err := io.ReadAll(resp.Body)
	if want := fmt.Sprintf("%x", sha256.Sum256(body)); err != nil || string(got) != want {
		return fmt.Errorf("the sum is %q, want %q; %v", got, want, err)
	}
	return nil
}

func TestTransfersThatSpanUpgradesFinish(t *testing.T) {
	for choice, flags := range map[string][]string{"AtReady": nil, "AtCommit": {"-until-commit"}} {
		t.Run(choice, func(t *testing.T) {
			t.Parallel()
			s := start(t, flags...)
			begun := make(chan string)
			var transfers sync.WaitGroup
			transfer := func(name string, do func(*http.Client, string, chan<- string) error) {
				c := client(t)
				transfers.Go(func() {
					if err := do(c, s.UDP, begun); err != nil {
						t.Errorf("%s: %v", name, err)
					}
				})
				if got := <-begun; got != "1" {
					t.Fatalf("%s is served by generation %s", name, got)
				}
			}
			for i := range 16 {
				transfer(fmt.Sprint("download ", i), download)
			}
			for i := range 4 {
				transfer(fmt.Sprint("upload ", i), upload)
			}
			ctx, stop := context.WithCancel(context.Background())
			var others sync.WaitGroup
			others.Go(func() { requests(ctx, t, s.UDP) })
			for n := range 3 {
				s.Reload()
				proctest.Until(t, "the successor answers", func() error {
					got, err := generation(client(t), s.UDP)
					if err != nil {
						t.Fatal(err)
					}
					if got != n+2 {
						return fmt.Errorf("generation %d answers", got)
					}
					return nil
				})
			}
			select {
			case <-s.First.Exited():
				t.Error("the first generation has ended before its transfers")
			default:
			}
			transfers.Wait()
			ended := time.Now()
			if err := s.First.Wait(); err != nil {
				t.Error(err)
			}
			if took := time.Since(ended); took > 5*time.Second {
				t.Errorf("the first generation ended %v after its last stream", took)
			}
			stop()
			others.Wait()
			s.Signal(s.Main(), syscall.SIGTERM)
			s.Gone()
		})
	}
}

// requests sends them, one by one, on new connections and on one that is kept, until
// ctx ends. None may fail, and none may be answered by an older generation than
// the one before it on the kept connection.
func requests(ctx context.Context, t *testing.T, address string) {
	kept := client(t)
	count, last := 0, 0
	for ctx.Err() == nil {
		if _, err := generation(client(t), address); err != nil {
			t.Errorf("request %d on a new connection: %v", count, err)
			return
		}
		got, err := generation(kept, address)
		if err != nil || got < last {
			t.Errorf("request %d on the kept connection: generation %d after %d, %v", count, got, last, err)
			return
		}
		last = got
		count++
		time.Sleep(5 * time.Millisecond)
	}
	t.Logf("%d requests on new connections, %[1]d on the kept one", count)
}
