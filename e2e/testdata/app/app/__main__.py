"""serve: a web server that tells when it starts and stops.
work: tells that it begins, waits at a gate, and tells that it ends.
shop: see there."""

import http.server
import os
import signal
import sys
import threading

from app.shop import shop
from app.witness import note, wait


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"ok\n"
        self.send_response(200 if self.path in ("/", "/healthz") else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args):
        pass


def serve(url):
    server = http.server.ThreadingHTTPServer(("0.0.0.0", int(os.environ["PORT"])), Handler)
    server.daemon_threads = True

    def terminate(signum, frame):
        threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, terminate)
    print("serving as {}".format(os.environ["PERIGEE_TASK"]), flush=True)
    note(url, "start")
    server.serve_forever(poll_interval=0.05)
    note(url, "stop")


def work(url, gate):
    note(url, "begin")
    print("working on {}".format(gate), flush=True)
    wait(url, gate)
    note(url, "end")
    print("done", flush=True)


if __name__ == "__main__":
    {"serve": serve, "work": work, "shop": shop}[sys.argv[1]](*sys.argv[2:])
