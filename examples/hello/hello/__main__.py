"""Serves / and /healthz until SIGTERM, and writes a line now and then.

POST /quit ends the process with status 1, and POST /sick makes /healthz fail:
to see how Perigee notices and starts another.
"""

import argparse
import http.server
import signal
import sys
import threading

from hello.greeting import greeting


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30  # seconds a connection may idle

    def do_GET(self):
        if self.path == "/":
            self.answer(200, greeting())
        elif self.path == "/healthz":
            if self.server.sick:
                self.answer(503, "sick")
            else:
                self.answer(200, "ok")
        else:
            self.answer(404, "there is /, /healthz, /quit and /sick")

    def do_POST(self):
        if self.path == "/quit":
            self.answer(200, "quitting")
            self.server.end(1)
        elif self.path == "/sick":
            self.server.sick = True
            self.answer(200, "sick from now on")
        else:
            self.answer(404, "there is /, /healthz, /quit and /sick")

    def answer(self, status, text):
        body = (text + "\n").encode()
        self.close_connection = True
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args):
        if getattr(self, "path", "") != "/healthz":
            say(format % args)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    sick = False
    status = 0

    def end(self, status):
        """Ends serve_forever, from whichever thread."""
        self.status = status
        threading.Thread(target=self.shutdown).start()


def say(line):
    print(line, flush=True)


def beat(every, stopped):
    beats = 0
    while not stopped.wait(every):
        beats += 1
        say("heartbeat {}: {}".format(beats, greeting()))


def main():
    parser = argparse.ArgumentParser(prog="hello", description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--host", default="0.0.0.0")
    parser.add_argument("--heartbeat", type=float, default=5, metavar="SECONDS")
    args = parser.parse_args()

    server = Server((args.host, args.port), Handler)
    stopped = threading.Event()

    def terminate(signum, frame):
        say("{}: stopping".format(signal.Signals(signum).name))
        server.end(0)

    signal.signal(signal.SIGTERM, terminate)
    signal.signal(signal.SIGINT, terminate)
    say("listening on {}:{}".format(args.host, server.server_address[1]))
    heart = threading.Thread(target=beat, args=(args.heartbeat, stopped), daemon=True)
    heart.start()
    server.serve_forever(poll_interval=0.1)
    server.server_close()
    stopped.set()
    heart.join()
    say("bye")
    return server.status


if __name__ == "__main__":
    sys.exit(main())
