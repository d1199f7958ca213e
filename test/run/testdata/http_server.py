"""Python's http.server on python3-systemd: it answers with what it is sent."""

import http.server
import os
import signal
import socket
import threading

from systemd import daemon


class Echo(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(b"here\n")

    def do_POST(self):
        self.answer(self.rfile.read(int(self.headers["Content-Length"])))

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Pid", str(os.getpid()))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = False  # server_close waits for the requests

    def get_request(self):
        # Another process may have been quicker.
        self.socket.setblocking(False)
        conn, peer = self.socket.accept()
        conn.setblocking(True)
        return conn, peer


server = Server(("", 0), Echo, bind_and_activate=False)
server.socket.close()
server.socket = socket.socket(fileno=daemon.listen_fds()[0])
server.server_name, server.server_port = "localhost", server.socket.getsockname()[1]
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
daemon.notify("READY=1")
server.serve_forever(poll_interval=0.05)
server.server_close()
