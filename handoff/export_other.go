//go:build !unix

package handoff

import (
	"os"
	"os/exec"
)

func export(cmd *exec.Cmd, files []File) error {
	if err := checkFiles(files); err != nil {
		return err
	}
	return ErrUnsupported
}

func dupFile(File) (*os.File, error) { return nil, ErrUnsupported }

func closeAll([]*os.File) {}
