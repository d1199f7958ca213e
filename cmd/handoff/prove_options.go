package main

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// prepare checks the flags and makes prove.Options of them.
func (o *proveOptions) prepare() (err error) {
	switch {
	case o.URL == "":
		return usagef("--url is missing: it names the service")
	case !(o.Rate > 0 && o.Rate <= 100000):
		return usagef("--rate is %v: want more than 0, and 100000 at most", o.Rate)
	case o.Connections < 1 || o.Connections > 1000:
		return usagef("--connections is %d: want 1 to 1000", o.Connections)
	case o.Count < 0 || o.Count > 10000:
		return usagef("--count is %d: want 1 to 10000", o.Count)
	case o.Upgrade != "" && o.Duration != 0:
		return usagef("--duration is for watching without --upgrade: say --count and --pause")
	case o.Duration > 24*time.Hour:
		return usagef("--duration is %v: want 24h at most", o.Duration)
	}
	if o.Upgrade == "" && o.Duration == 0 {
		o.Duration = 10 * time.Minute
	}
	for _, name := range o.out {
		if reportWriters[filepath.Ext(name)] == nil {
			return usagef("--out %s: want a file that ends with .html, .svg, .json or .xml", name)
		}
	}
	if o.Accept, err = parseStatus(o.status); err != nil {
		return err
	}
	if o.Header, err = parseHeaders(o.headers); err != nil {
		return err
	}
	o.TLS, err = o.tlsConfig()
	return err
}

// parseStatus reads "200,301-399".
func parseStatus(text string) (func(int) bool, error) {
	type span struct{ from, to int }
	var spans []span
	for part := range strings.SplitSeq(text, ",") {
		low, high, ok := strings.Cut(strings.TrimSpace(part), "-")
		if !ok {
			high = low
		}
		from, err := strconv.Atoi(low)
		to, err2 := strconv.Atoi(high)
		if err != nil || err2 != nil || from < 100 || to > 599 || from > to {
			return nil, usagef("--status %q: want numbers from 100 to 599 and ranges of them, such as 200,301-399", text)
		}
		spans = append(spans, span{from, to})
	}
	return func(status int) bool {
		for _, s := range spans {
			if status >= s.from && status <= s.to {
				return true
			}
		}
		return false
	}, nil
}

// ownHeaders are the load's.
var ownHeaders = []string{"Host", "Content-Length", "Connection", "Transfer-Encoding", "Upgrade"}

func parseHeaders(lines []string) (http.Header, error) {
	h := http.Header{}
	for _, line := range lines {
		name, value, ok := strings.Cut(line, ":")
		name, value = http.CanonicalHeaderKey(strings.TrimSpace(name)), strings.TrimSpace(value)
		if !ok || name == "" || strings.ContainsAny(name+value, "\r\n") || strings.ContainsAny(name, " \t") {
			return nil, usagef("--header %q: want 'Name: value'", line)
		}
		for _, own := range ownHeaders {
			if name == own {
				return nil, usagef("--header %q: %s is set by the load itself", line, own)
			}
		}
		h.Add(name, value)
	}
	return h, nil
}

func (o *proveOptions) tlsConfig() (*tls.Config, error) {
	cfg := &tls.Config{ServerName: o.serverName, InsecureSkipVerify: o.insecure}
	if o.cacert == "" {
		return cfg, nil
	}
	pem, err := os.ReadFile(o.cacert)
	if err != nil {
		return nil, usagef("--cacert: %w", err)
	}
	cfg.RootCAs = x509.NewCertPool()
	if !cfg.RootCAs.AppendCertsFromPEM(pem) {
		return nil, usagef("--cacert %s: there is no certificate in it", o.cacert)
	}
	return cfg, nil
}
