package handoff

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/windows"
)

var ownFDs = fdTable{kindOf: kindOf, close: closeFD}

// inherit fetches duplicates of systemfd's sockets, all of them named "unknown".
func inherit(InheritOptions) (*Set, error) {
	server, secret := os.Getenv(envServer), os.Getenv(envSecret)
	for _, key := range []string{envServer, envSecret} {
		if err := os.Unsetenv(key); err != nil {
			return nil, fmt.Errorf("handoff: remove %s from the environment: %w", key, err)
		}
	}
	records, err := askSystemfd(server, secret, os.Getpid(), int(unsafe.Sizeof(windows.WSAProtocolInfo{})))
	if err != nil {
		return nil, err
	}
	s := &Set{fds: ownFDs}
	for i, rec := range records {
		var info windows.WSAProtocolInfo
		copy(unsafe.Slice((*byte)(unsafe.Pointer(&info)), unsafe.Sizeof(info)), rec)
		h, err := openShared(&info)
		if err != nil {
			_ = s.Close() // the sockets themselves are systemfd's, and stay
			return nil, fmt.Errorf("handoff: open socket %d of systemfd's: %w", i, os.NewSyscallError("WSASocket", err))
		}
		detachFromPort(h)
		e := Entry{Index: i, FD: int(h), Name: unnamed}
		e.Kind, e.text, e.Addr, e.RemoteAddr = kindOf(e.FD)
		s.slots = append(s.slots, slot{entry: e})
	}
	return s, nil
}

func openShared(info *windows.WSAProtocolInfo) (windows.Handle, error) {
	return windows.WSASocket(-1, -1, -1, info, 0, windows.WSA_FLAG_OVERLAPPED|windows.WSA_FLAG_NO_HANDLE_INHERIT)
}

// detachFromPort frees a socket from the completion port of the process that
// served it before, as a socket can be on one only (Windows 8.1; an error means
// that it was on none, or an older Windows). The Go runtime then uses its own.
func detachFromPort(h windows.Handle) {
	var status windows.IO_STATUS_BLOCK
	var port [2]uintptr // FILE_COMPLETION_INFORMATION: port and key, none
	_ = windows.NtSetInformationFile(h, &status, (*byte)(unsafe.Pointer(&port)), uint32(unsafe.Sizeof(port)),
		windows.FileReplaceCompletionInformation)
}

func dupFD(fd int) (int, error) {
	var info windows.WSAProtocolInfo
	if err := windows.WSADuplicateSocket(windows.Handle(fd), uint32(os.Getpid()), &info); err != nil {
		return -1, os.NewSyscallError("WSADuplicateSocket", err)
	}
	h, err := openShared(&info)
	return int(h), os.NewSyscallError("WSASocket", err)
}

func closeFD(fd int) error { return windows.Closesocket(windows.Handle(fd)) }
