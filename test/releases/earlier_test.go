//go:build linux

package releases

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/handoff-dev/handoff/internal/needed"
)

// earlierCommit is the last one before Go 1.27 was supported.
const earlierCommit = "396ccae7bd30ca9b9f99fee736fce1bb25ce29e9"

// earlier returns a tree with the files of an earlier version. A clone without its
// history fetches the commit from where it was cloned.
func earlier(t *testing.T) (dir string) {
	t.Helper()
	git := needed.Tool(t, "git")
	dir = t.TempDir()
	repository := root
	if exec.Command(git, "-c", "safe.directory=*", "-C", root, "cat-file", "-e", earlierCommit+"^{commit}").Run() != nil {
		repository = fetchEarlier(t, git)
	}
	archive := exec.Command(git, "-c", "safe.directory=*", "-C", repository, "archive", "--format=tar", earlierCommit)
	tar := exec.Command("tar", "-x", "-C", dir)
	var said strings.Builder
	archive.Stderr, tar.Stderr = &said, &said
	var err error
	if tar.Stdin, err = archive.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	if err := tar.Start(); err != nil {
		t.Fatal(err)
	}
	err = archive.Run()
	if tarErr := tar.Wait(); err != nil || tarErr != nil {
		t.Fatalf("git archive %s: %v, tar: %v: %s", earlierCommit, err, tarErr, said.String())
	}
	return dir
}

// fetchEarlier leaves the clone as it is.
func fetchEarlier(t *testing.T, git string) (repository string) {
	t.Helper()
	origin, err := exec.Command(git, "-c", "safe.directory=*", "-C", root, "remote", "get-url", "origin").Output()
	if err != nil {
		needed.Missing(t, "commit %.7s, which is not in this clone, nor is there a remote \"origin\": clone with the whole history", earlierCommit)
	}
	repository = t.TempDir()
	for _, args := range [][]string{
		{"init", "--quiet", "--bare"},
		{"fetch", "--quiet", "--depth=1", strings.TrimSpace(string(origin)), earlierCommit},
	} {
		if out, err := exec.Command(git, append([]string{"-C", repository}, args...)...).CombinedOutput(); err != nil {
			needed.Missing(t, "commit %.7s, which is not in this clone and can't be fetched (git %s: %v: %s): clone with the whole history", earlierCommit, args[0], err, strings.TrimSpace(string(out)))
		}
	}
	return repository
}
