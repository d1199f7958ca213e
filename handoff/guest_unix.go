//go:build unix

package handoff

import (
	"errors"
	"net"
	"syscall"
	"time"
)

// open makes a connection of package net of the socket, which is closed, or finds out
// that it is none. That takes
// another descriptor for an instant: if there is none, it waits until there is.
func (s *guestSocket) open() (conn net.Conn, err error) {
	file := s.file()
	defer file.Close()
	for pause := time.Millisecond; pause < 10*time.Second; pause *= 2 {
		conn, err = net.FileConn(file)
		if !errors.Is(err, syscall.EMFILE) && !errors.Is(err, syscall.ENFILE) {
			break
		}
		time.Sleep(pause)
	}
	if err != nil {
		return nil, err
	}
	if _, err = streamConn(conn); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}
