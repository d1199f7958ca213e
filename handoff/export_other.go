//go:build !unix

package handoff

import (
	"os"
	"os/exec"
)

func export(cmd *exec.Cmd, files []File, link *os.File) error {
	if err := checkFiles(files); err != nil {
		return err
	}
	return ErrUnsupported
}
