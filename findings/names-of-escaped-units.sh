#!/usr/bin/env bash
# A socket unit without FileDescriptorName= gives its sockets the unit's name, and systemd writes it
# into LISTEN_FDNAMES as it is. The unit of a path or of a name with a dash is escaped by
# systemd-escape(1): web\x2dapi.socket. But libsystemd's own reader, sd_listen_fds_with_names(3),
# takes the backslash for a quotation of the next character, and returns webx2dapi.socket: a name
# that no unit has. go-systemd splits at the colons alone and returns the name as it is. So two
# programs in one service know one socket by different names.
#
# Seen with libsystemd 252.39 (Debian 12) and go-systemd v22.7.0:
#   LISTEN_FDNAMES=web\x2dapi.socket   libsystemd: webx2dapi.socket   go-systemd: web\x2dapi.socket
#   LISTEN_FDNAMES=a\:b (two sockets)  libsystemd: error -22          go-systemd: "a\" and "b"
#
# Needs Debian 12 (apt-get, dpkg-deb), gcc, go, python3, and the network.
set -euo pipefail
dir=$(mktemp -d)
trap 'chmod -R u+w "$dir"; rm -rf "$dir"' EXIT
cd "$dir"
apt-get download -qq libsystemd-dev=252.39-1~deb12u2 libsystemd0=252.39-1~deb12u2 2>/dev/null
for package in ./*.deb; do dpkg-deb -x "$package" root; done

cat >names.c <<'C'
#include <stdio.h>
#include <systemd/sd-daemon.h>
int main(void) {
	char **names = NULL;
	int n = sd_listen_fds_with_names(0, &names);
	if (n < 0) printf("error %d", n);
	for (int i = 0; i < n; i++) printf("%s%s", i ? " " : "", names[i]);
	printf("\n");
}
C
lib=$(echo root/usr/lib/*-linux-gnu)
gcc -I root/usr/include -o names-c names.c -L "$lib" -l:libsystemd.so.0 -Wl,--unresolved-symbols=ignore-in-shared-libs

mkdir go && cd go
cat >main.go <<'GO'
package main

import (
	"fmt"

	"github.com/coreos/go-systemd/v22/activation"
)

func main() {
	for i, f := range activation.Files(false) {
		if i > 0 {
			fmt.Print(" ")
		}
		fmt.Print(f.Name())
	}
	fmt.Println()
}
GO
export GOFLAGS=-mod=mod
go mod init names >/dev/null 2>&1
go get github.com/coreos/go-systemd/v22@v22.7.0 >/dev/null 2>&1
go build -o ../names-go .
cd ..

# pass.py becomes the program with so many listeners from descriptor 3 on, under the names.
cat >pass.py <<'PYTHON'
import os, socket, sys
names, count, program = sys.argv[1], int(sys.argv[2]), sys.argv[3]
listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen()
high = os.dup2(listener.fileno(), 100)
for i in range(count):
    os.dup2(high, 3 + i, inheritable=True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(count), LISTEN_FDNAMES=names)
os.execv(program, [program])
PYTHON
export LD_LIBRARY_PATH=$dir/$lib
failed=0
expect() { # PROGRAM NAMES COUNT WANTED
	local got
	got=$(timeout 10 python3 pass.py "$2" "$3" "./$1")
	printf '%-9s %-22s %s\n' "$1" "$2" "$got"
	[[ $got == "$4" ]] || { echo "  expected: $4"; failed=1; }
}
expect names-c 'web\x2dapi.socket' 1 'webx2dapi.socket'
expect names-go 'web\x2dapi.socket' 1 'web\x2dapi.socket'
expect names-c 'a\:b' 2 'error -22'
expect names-go 'a\:b' 2 'a\ b'
exit $failed
