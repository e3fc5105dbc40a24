"""Serves its health on the port it is given."""
import http.server
import os
import sys

import greet


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/healthz" else 404)
        self.end_headers()
        self.wfile.write(greet.greeting(os.environ["PERIGEE_TASK"]).encode())


def main():
    port = int(sys.argv[sys.argv.index("--port") + 1])
    print("serving", greet.greeting(os.environ["PERIGEE_TASK"]), flush=True)
    http.server.HTTPServer(("127.0.0.1", port), Handler).serve_forever()
