"""A WSGI application. The arbiter, gunicorn's main process, is the one that received the sockets."""

import os


def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Connection", "close")])
    return [f"pid {os.getppid()}\n".encode()]
