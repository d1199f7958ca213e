package main

import "golang.org/x/sys/unix"

// systemOptions are those that only this system has.
var systemOptions = []socketOption{
	{"freebind", unix.SOL_IP, unix.IP_FREEBIND},
	{"defer-accept", unix.SOL_TCP, unix.TCP_DEFER_ACCEPT},
}
