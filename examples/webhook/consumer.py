"""Prints Perigee's events. Run it as: WEBHOOK_SECRET=whsec_… python3 consumer.py 8080"""
import base64, hashlib, hmac, http.server, json, os, sys, time

# Where the secret is rotated: the new one and the old one, with a space between them.
KEYS = [base64.b64decode(s.removeprefix("whsec_")) for s in os.environ["WEBHOOK_SECRET"].split()]
SEEN = {}  # ids of events; one that has to outlive a restart keeps them in its database


def verified(headers, body):
    stamp = headers.get("webhook-timestamp", "")
    if not stamp.isdecimal() or abs(time.time() - int(stamp)) > 300:
        return False  # somebody sends again what was sent long ago
    signed = f"{headers.get('webhook-id')}.{stamp}.".encode() + body
    good = [base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode() for key in KEYS]
    given = [s.removeprefix("v1,") for s in headers.get("webhook-signature", "").split() if s.startswith("v1,")]
    return any(hmac.compare_digest(g.encode(), s.encode()) for g in good for s in given)


class Consumer(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if ok := verified(self.headers, body):
            if SEEN.setdefault(self.headers["webhook-id"], body) is body:  # else it came before
                event = json.loads(body)
                print(event["id"], event["type"], event.get("subject", ""), event["data"].get("state", ""), flush=True)
        self.send_response(204 if ok else 401)
        self.end_headers()


http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Consumer).serve_forever()
