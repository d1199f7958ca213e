//go:build linux

package faults

import (
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// A manager hears what a service tells its service manager, and does nothing of
// its own accord.
type manager struct {
	address string

	mu       sync.Mutex
	messages []string
}

func startManager(t testing.TB, dir string) *manager {
	t.Helper()
	m := &manager{address: filepath.Join(dir, "notify")}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: m.address, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	var done sync.WaitGroup
	t.Cleanup(func() { conn.Close(); done.Wait() })
	done.Go(func() {
		buf := make([]byte, 8192)
		for {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			m.mu.Lock()
			m.messages = append(m.messages, string(buf[:n]))
			m.mu.Unlock()
		}
	})
	return m
}

// heard returns the last value of a variable, "" if none was sent.
func (m *manager) heard(key string) (value string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, message := range m.messages {
		for line := range strings.Lines(message) {
			if v, ok := strings.CutPrefix(strings.TrimSpace(line), key+"="); ok {
				value = v
			}
		}
	}
	return value
}

// said tells whether any message has the text in it.
func (m *manager) said(text string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return strings.Contains(strings.Join(m.messages, "\n"), text)
}
