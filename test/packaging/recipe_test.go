//go:build linux

package packaging

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/handoff-dev/handoff/test/internal/proctest"
)

// builder builds images from Dockerfiles, without a daemon. The image golang:1.26 that they begin from is
// this machine's Go and a shell: no registry is asked.
type builder struct {
	path, dir string
}

func newBuilder(t *testing.T) *builder {
	t.Helper()
	if os.Getuid() != 0 {
		proctest.Missing(t, "building an image wants root")
	}
	busybox := proctest.RequireTool(t, "busybox")
	dir, err := os.MkdirTemp("/var/tmp", "handoff-images-")
	if err != nil {
		t.Fatal(err)
	}
	b := &builder{path: proctest.RequireTool(t, "buildah"), dir: dir}
	t.Cleanup(func() { os.RemoveAll(dir) })
	base := t.TempDir()
	output(t, exec.Command("cp", busybox, filepath.Join(base, "sh")))
	writeFile(t, filepath.Join(base, "Dockerfile"), `FROM scratch
COPY sh /bin/
COPY sh /tmp/
ENV PATH=/usr/local/go/bin:/bin GOMODCACHE=/modules GOCACHE=/cache GOPROXY=`+goEnv(t, "GOPROXY")+"\n")
	b.build(t, "docker.io/library/golang:1.26", base, filepath.Join(base, "Dockerfile"))
	return b
}

func (b *builder) run(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command(b.path, append([]string{
		"--root", filepath.Join(b.dir, "root"), "--runroot", filepath.Join(b.dir, "run"), "--storage-driver", "vfs",
	}, args...)...)
	return output(t, cmd)
}

// build makes an image of the file in a directory, with Docker's own arguments.
func (b *builder) build(t *testing.T, name, dir, file string) {
	t.Helper()
	b.run(t, "build", "--isolation", "chroot", "--pull-never", "--network", "host", "--tag", name, "--file", file,
		"--build-arg", "VERSION="+testVersion, "--build-arg", "TARGETOS=linux", "--build-arg", "TARGETARCH="+runtime.GOARCH,
		"--build-arg", "TARGETPLATFORM=linux/"+runtime.GOARCH,
		"--volume", goEnv(t, "GOROOT")+":/usr/local/go:ro", "--volume", goEnv(t, "GOMODCACHE")+":/modules",
		"--volume", goEnv(t, "GOCACHE")+":/cache", "--volume", "/etc/ssl/certs:/etc/ssl/certs:ro", dir)
}

// image is one as a registry has it.
type image struct {
	config struct {
		Config struct{ Entrypoint, Cmd []string }
	}
	packed int64  // the sizes of its layers, compressed
	root   string // its files
}

// push writes the image as to a registry, and unpacks it.
func (b *builder) push(t *testing.T, name string) (i image) {
	t.Helper()
	dir := t.TempDir()
	b.run(t, "push", name, "oci:"+dir+":image")
	blob := func(digest string) string {
		return filepath.Join(dir, "blobs", strings.Replace(digest, ":", "/", 1))
	}
	var index struct{ Manifests []struct{ Digest string } }
	readJSON(t, filepath.Join(dir, "index.json"), &index)
	var manifest struct {
		Config struct{ Digest string }
		Layers []struct {
			Digest string
			Size   int64
		}
	}
	readJSON(t, blob(index.Manifests[0].Digest), &manifest)
	readJSON(t, blob(manifest.Config.Digest), &i.config)
	i.root = t.TempDir()
	for _, layer := range manifest.Layers {
		i.packed += layer.Size
		output(t, exec.Command("tar", "--extract", "--gzip", "--directory", i.root, "--file", blob(layer.Digest)))
	}
	return i
}

// files are those of an image, with no directory.
func (i image) files(t *testing.T) (all []string) {
	t.Helper()
	return strings.Fields(output(t, exec.Command("find", i.root, "!", "-type", "d", "-printf", "/%P\\n")))
}

func TestTheDockerfilesMakeAnImageOfOneFileThatIsPID1(t *testing.T) {
	t.Parallel()
	b := newBuilder(t)
	release := t.TempDir() // what goreleaser lays out
	if err := os.MkdirAll(filepath.Join(release, "linux", runtime.GOARCH), 0o755); err != nil {
		t.Fatal(err)
	}
	output(t, exec.Command("cp", binary(t, "small"), filepath.Join(release, "linux", runtime.GOARCH, "handoff")))
	for file, dir := range map[string]string{"packaging/Dockerfile": release, "Dockerfile": repository} {
		b.build(t, "handoff", dir, filepath.Join(repository, file)) // the same from both
		i := b.push(t, "handoff")
		t.Logf("%s: %d bytes compressed", file, i.packed)
		if i.packed > 5_000_000 {
			t.Errorf("%s: the image has %d bytes, compressed, want 5 MB at most", file, i.packed)
		}
		if got := i.config.Config.Entrypoint; !slices.Equal(got, []string{"/handoff"}) {
			t.Errorf("%s: the entry point is %q", file, got)
		}
		if got := i.files(t); !slices.Equal(got, []string{"/handoff"}) {
			t.Errorf("%s: the image has the files %q, want /handoff alone", file, got)
		}
		handoff := filepath.Join(i.root, "handoff")
		if got := output(t, exec.Command(handoff, "version")); !strings.HasPrefix(got, "handoff "+testVersion+" ") {
			t.Errorf("%s: the version is %q", file, got)
		}
		if file == "Dockerfile" {
			startContainer(t, handoff).swapsAndStops(t)
		}
	}

	b.ownImage(t)
}

// ownImage builds and runs what docs/containers.md has for an image of one's own.
func (b *builder) ownImage(t *testing.T) {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(repository, "docs/containers.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, recipe, _ := strings.Cut(string(page), "```dockerfile\n")
	recipe, _, _ = strings.Cut(recipe, "```")
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/server")); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "Dockerfile"), recipe)
	b.build(t, "server", dir, filepath.Join(dir, "Dockerfile"))
	i := b.push(t, "server")
	if got := i.files(t); len(got) != 2 || !slices.Contains(got, "/handoff") || !slices.Contains(got, "/srv/app/server") {
		t.Errorf("the image of the recipe has the files %q", got)
	}
	c := newContainer(t, i.root)
	command := append(i.config.Config.Entrypoint, i.config.Config.Cmd...)
	for n := range command {
		command[n] = strings.Replace(command[n], "http=:8080", "http="+c.addr, 1)
	}
	c.start(t, command...)
	c.untilVersion(t, "recipe")
	c.signal(t, syscall.SIGHUP)
	c.p.Until("the swap", func() error {
		if out := c.p.Output(); !strings.Contains(out, "generation 2 serves, after") {
			return errors.New(out)
		}
		return nil
	})
	c.untilVersion(t, "recipe")
	c.stops(t)
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	return strings.TrimSpace(output(t, exec.Command("go", "env", name)))
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func readJSON(t *testing.T, path string, v any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(data, v)
	}
	if err != nil {
		t.Fatal(err)
	}
}
