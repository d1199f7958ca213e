// Package receivers holds the tests that programs which know nothing of handoff
// receive what it exports: libsystemd's own reader (from C and from Python),
// go-systemd, gunicorn and systemd-socket-proxyd.
//
// The receivers of ours, in testdata and gosystemd, answer any HTTP request with
// lines of text:
//
//	pid NUMBER      its process id
//	name NAME       one line a descriptor, as the library gave them
//	kind WORDS      one line a descriptor (C only): what libsystemd says of its type
//	fd NUMBER       one line for each descriptor open at the start of main (C only)
//	env KEY=VALUE   what stood in the environment and concerns services (C only)
package receivers
