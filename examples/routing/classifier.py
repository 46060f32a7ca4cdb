"""A classifier of one's own, the whole of it: `python3 classifier.py 9010`. It tells rude texts by their words."""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

RUDE = {"idiots", "ridiculous", "stupid", "useless"}


class Classifier(BaseHTTPRequestHandler):
    """Answers POST {"text": "..."} with {"label": "...", "confidence": 0.95}."""

    protocol_version = "HTTP/1.1"  # keeps the gateways' connections open

    def do_POST(self) -> None:
        text = json.loads(self.rfile.read(int(self.headers["content-length"])))["text"]
        rude = not RUDE.isdisjoint(text.lower().replace(",", " ").replace("!", " ").split())
        answer = json.dumps({"label": "rude", "confidence": 0.95} if rude else {"label": "polite", "confidence": 0.8})
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer.encode())

    def log_message(self, *_: object) -> None:
        """Prompts are nobody's business: nothing is logged."""


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Classifier).serve_forever()
