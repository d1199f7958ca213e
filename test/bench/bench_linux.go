package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"debug/buildinfo"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/handoff-dev/handoff/test/bench/record"
)

// size is how much a run measures.
type size struct {
	lossRounds, lossUpgrades       int
	latencyRounds, latencyUpgrades int
	idleRounds, caseRounds         int
	steadyRounds                   int
	slice                          time.Duration // of a steady round
}

var (
	quickSize = size{1, 2, 2, 2, 2, 1, 10, 250 * time.Millisecond}
	fullSize  = size{2, 5, 7, 4, 10, 7, 40, 500 * time.Millisecond}
)

// workers are those of each of n shapes that run together.
func (size) workers(n int) int { return max(32/n, 8) }

// bench is one run.
type bench struct {
	quick   bool
	verbose bool
	size    size
	peers   []*peer
	cases   []string // of the times; all if empty
	tmp     string   // all that the run leaves in the file system, until its end
	bins    string
	out     io.Writer
	run     *record.Run
	began   time.Time
}

// newBench builds the programs of the servers with these names, of all if there is
// none. close removes them.
func newBench(ctx context.Context, quick bool, out io.Writer, names ...string) (*bench, error) {
	if err := subreap(); err != nil {
		return nil, fmt.Errorf("PR_SET_CHILD_SUBREAPER: %w", err)
	}
	raiseFileLimit()
	tmp, err := os.MkdirTemp("", "handoff-bench-")
	if err != nil {
		return nil, err
	}
	b := &bench{quick: quick, size: fullSize, peers: allPeers(), tmp: tmp, bins: filepath.Join(tmp, "bin"), out: out,
		run: new(record.Run), began: time.Now()}
	if quick {
		b.size = quickSize
	}
	if len(names) > 0 {
		if b.peers = b.named(names...); len(b.peers) != len(names) {
			b.close()
			return nil, fmt.Errorf("servers %q: not all of them exist, or are installed", names)
		}
	}
	if err = b.build(ctx); err == nil {
		err = b.certify()
	}
	if err != nil {
		b.close()
		return nil, err
	}
	b.describe()
	return b, nil
}

func (b *bench) close() error { return os.RemoveAll(b.tmp) }

func raiseFileLimit() {
	var l unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &l) == nil {
		l.Cur = l.Max
		unix.Setrlimit(unix.RLIMIT_NOFILE, &l)
	}
}

func (b *bench) build(ctx context.Context) error {
	if err := os.MkdirAll(b.bins, 0o755); err != nil {
		return err
	}
	os.Chmod(b.tmp, 0o755)                                           // nginx's workers are another user's
	args := []string{"build", "-o", b.bins + "/", "./servers/plain"} // nginx needs it as well
	for _, p := range b.peers {
		if dir := "./servers/" + p.program; p.program != "" && !slices.Contains(args, dir) {
			args = append(args, dir)
		}
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// certify makes a certificate that lasts as long as the run.
func (b *bench) certify() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	secret, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	for name, block := range map[string]*pem.Block{
		"cert.pem": {Type: "CERTIFICATE", Bytes: der},
		"key.pem":  {Type: "EC PRIVATE KEY", Bytes: secret},
	} {
		if err := os.WriteFile(filepath.Join(b.bins, name), pem.EncodeToMemory(block), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) describe() {
	r := b.run
	r.Began, r.Quick = b.began.UTC().Truncate(time.Second), b.quick
	r.Host = record.Machine{CPU: cpuModel(), CPUs: runtime.NumCPU(), Kernel: kernel(), Go: runtime.Version(), Commit: commit()}
	for _, p := range b.peers {
		version := p.version
		if p.program != "" {
			version = moduleVersion(filepath.Join(b.bins, p.program), p.module)
		}
		if p.name == record.Ours {
			version = r.Host.Commit
		}
		r.Servers = append(r.Servers, record.Server{Name: p.name, Version: version, How: p.how})
	}
	r.Method = method(b.quick, b.size)
}

func cpuModel() string {
	data, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(data)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

func kernel() string {
	data, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return strings.TrimSpace(string(data))
}

func commit() string {
	out, err := exec.Command("git", "describe", "--always", "--dirty", "--tags").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}

func moduleVersion(program, module string) string {
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return ""
	}
	if module == "" {
		return info.GoVersion
	}
	for _, dep := range info.Deps {
		if dep.Path == module {
			return dep.Version
		}
	}
	return ""
}

// named are some of the peers.
func (b *bench) named(names ...string) []*peer {
	return slices.DeleteFunc(slices.Clone(b.peers), func(p *peer) bool { return !slices.Contains(names, p.name) })
}

func (b *bench) goPeers() []*peer {
	return slices.DeleteFunc(slices.Clone(b.peers), func(p *peer) bool { return !p.goes })
}

// turns lets each of the peers have its turn; in every round another is the first.
func (b *bench) turns(ctx context.Context, round int, peers []*peer, do func(*peer) error) {
	for i := range peers {
		p := peers[(i+round)%len(peers)]
		if ctx.Err() != nil {
			return
		}
		began := time.Now()
		if err := do(p); err != nil && ctx.Err() == nil {
			b.fault(err)
		}
		if b.verbose {
			fmt.Fprintf(b.out, "\t%s %v\n", p.name, time.Since(began).Round(time.Millisecond))
		}
	}
}

func (b *bench) fault(err error) {
	fmt.Fprintln(b.out, "not measured:", err)
	b.run.Faults = append(b.run.Faults, err.Error())
}

// shut ends a server. What can't be ended is worth a fault.
func (b *bench) shut(s *server) {
	if err := s.close(); err != nil {
		b.fault(err)
	}
}

// parts are what a run consists of, in their order.
var parts = []struct {
	name string
	do   func(*bench, context.Context)
}{
	{"times", (*bench).times},
	{"losses", (*bench).losses},
	{"latencies", (*bench).latencies},
	{"steady", (*bench).steady},
	{"hundred", (*bench).hundred},
}

// measure does the parts that are wanted, all if none is named.
func (b *bench) measure(ctx context.Context, wanted []string) error {
	for _, part := range parts {
		if len(wanted) > 0 && !slices.Contains(wanted, part.name) {
			continue
		}
		began := time.Now()
		b.run.Host.LoadAvgs = append(b.run.Host.LoadAvgs, loadAverage())
		fmt.Fprintf(b.out, "%s: ", part.name)
		part.do(b, ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		fmt.Fprintf(b.out, "%v\n", time.Since(began).Round(100*time.Millisecond))
	}
	b.run.Host.LoadAvgs = append(b.run.Host.LoadAvgs, loadAverage())
	b.run.Took = time.Since(b.began).Round(time.Second).String()
	return nil
}

// loadAverage is the first of the three, of the last minute.
func loadAverage() string {
	data, _ := os.ReadFile("/proc/loadavg")
	first, _, _ := strings.Cut(string(data), " ")
	return first
}

func method(quick bool, z size) []string {
	together := "each shape alone, its workers without pause or as the shape says"
	if quick {
		together = "all plain shapes at the same time, then the others, the busy ones at a fixed rate"
	}
	return []string{
		"One run, in which the servers take turns; in every round another begins. Loopback, clients and servers on the same CPUs, one handler for all.",
		fmt.Sprintf("Losses: %s. %d upgrades or more a cell, the next when the old process is gone. The client never sends a request twice; a request is lost from its first written byte on. The old process is killed after %v.", together, z.lossRounds*z.lossUpgrades, upgradeLimit),
		"Forced reconnects: connections beyond the first of each worker.",
		"Latency: keep-alive, 16 workers, 2,000 requests/s; it counts from when a request was due. Around: the second from the signal on.",
		"Times: one new connection after the other, 50 µs apart, from the signal until another process answers. Gone: the pidfd tells. handoff's probation is 0 here, because nobody else has one; in the losses and latencies it is its default, 1 s.",
		"The heap is the old process's, with a pointer in each page. The idle connections have had one answer.",
		fmt.Sprintf("Rounds: %d of the idle times, %d of the other times, %d of the latencies, %d of the steady state.", z.idleRounds, z.caseRounds, z.latencyRounds, z.steadyRounds),
		"Medians, with the quartiles in parentheses. Ratios are formed of measurements of the same round.",
	}
}
