package flip

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func TestAProgramWithoutBuildInformationIsNoTableflipServer(t *testing.T) {
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable() // has both modules
	if err != nil {
		t.Fatal(err)
	}
	gocmd, err := exec.LookPath("go")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{script, self, gocmd, filepath.Join(t.TempDir(), "missing")} {
		if IsTableflip(path) {
			t.Errorf("%s is taken for a tableflip server", path)
		}
	}
}
