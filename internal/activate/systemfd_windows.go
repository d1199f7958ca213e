package activate

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"
)

// Systemfd starts the program, gives it and its descendants duplicates of the sockets
// by systemfd's protocol for as long as it runs, and returns its exit code.
func Systemfd(p Program, env Environ, sockets []syscall.Conn) (int, error) {
	s, err := newSystemfd(func(pid uint32) ([]byte, error) { return shared(sockets, pid) })
	if err != nil {
		return 0, err
	}
	defer s.server.Close()
	go s.serve()
	cmd := &exec.Cmd{Path: p.Path, Args: p.Args, Env: env.With(s.variables()...), Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	_ = cmd.Wait()
	return cmd.ProcessState.ExitCode(), nil
}

// shared are the WSAPROTOCOL_INFOW of the sockets for a process, one after the other.
func shared(sockets []syscall.Conn, pid uint32) (all []byte, err error) {
	for _, socket := range sockets {
		raw, err := socket.SyscallConn()
		if err != nil {
			return nil, err
		}
		var info windows.WSAProtocolInfo
		var derr error
		err = raw.Control(func(h uintptr) { derr = windows.WSADuplicateSocket(windows.Handle(h), pid, &info) })
		if err = errors.Join(err, os.NewSyscallError("WSADuplicateSocket", derr)); err != nil {
			return nil, err
		}
		all = append(all, unsafe.Slice((*byte)(unsafe.Pointer(&info)), unsafe.Sizeof(info))...)
	}
	return all, nil
}
