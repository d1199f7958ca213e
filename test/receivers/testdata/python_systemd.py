"""A service on python3-systemd."""

import os
import select
import socket

from systemd import daemon

fds = daemon.listen_fds_with_names()  # {3: "http", …}
report = f"pid {os.getpid()}\n" + "".join(f"name {name}\n" for name in fds.values())
listeners = [socket.socket(fileno=fd) for fd in fds if daemon.is_socket(fd, socket.AF_UNSPEC, socket.SOCK_STREAM, 1)]

while True:
    for listener in select.select(listeners, [], [])[0]:
        conn, _ = listener.accept()
        with conn:
            request = b""
            while b"\r\n\r\n" not in request:
                data = conn.recv(4096)
                if not data:
                    break
                request += data
            conn.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n" + report.encode())
