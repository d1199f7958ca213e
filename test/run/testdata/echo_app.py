"""A WSGI application for gunicorn: it answers with what it is sent."""

import os


def app(environ, start_response):
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    start_response("200 OK", [("Content-Length", str(len(body))), ("X-Pid", str(os.getppid()))])
    return [body]
