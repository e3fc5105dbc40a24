"""A web service as it should be behind a load balancer: it says which version it
is, and answers what it has begun to before it ends."""

import http.server
import os
import signal
import sys
import threading


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        bad = self.path == "/healthz" and os.environ.get("BAD") == "health"
        body = (os.environ["VERSION"] + "\n").encode()
        self.send_response(500 if bad else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, format, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = False  # server_close waits for them
    request_queue_size = 128


def shop():
    if os.environ.get("BAD") == "crash":
        sys.exit("there is no database")
    server = Server(("0.0.0.0", int(os.environ["PORT"])), Handler)
    signal.signal(signal.SIGTERM, lambda signum, frame: threading.Thread(target=server.shutdown).start())
    print("serving {}".format(os.environ["VERSION"]), flush=True)
    server.serve_forever(poll_interval=0.05)
    server.server_close()
