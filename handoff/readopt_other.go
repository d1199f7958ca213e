//go:build !unix

package handoff

func holdSocket(File) (fd int, err error) { return -1, ErrUnsupported }

func closeSocket(int) {}

func ownImage() (string, error) { return "", ErrUnsupported }

func nameProcess(string) {}
