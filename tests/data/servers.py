"""Servers that hold files: object stores, started for a test, and a web server that serves parts of files."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

KEY, SECRET = "AKIAEXAMPLEEXAMPLE00", "hush-this-is-the-secret-0123456789abcdef"


@contextmanager
def s3_server() -> Iterator[str]:
    """moto's server; gives its address."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


class Parts(SimpleHTTPRequestHandler):
    """Serves files of a folder and parts of them: /forbidden/ only to who has a password, /cut/ by half; who
    asks for /signed/ is sent on to an address that holds a secret."""

    serves_parts = True

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, with_body: bool) -> None:
        if self.path.startswith("/signed/"):
            self.send_response(302)
            self.send_header("Location", f"/forbidden/b.jsonl?X-Amz-Signature={SECRET}")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        if self.path.startswith("/forbidden/") and "Authorization" not in self.headers:
            return self.send_error(403)
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            return self.send_error(404)
        content = path.read_bytes()
        first, last = 0, len(content)
        asked = (
            re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")) if self.serves_parts else None
        )
        if asked:
            first, last = int(asked[1]), min(int(asked[2] or last) + 1, len(content))
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{last - 1}/{len(content)}")
        else:
            self.send_response(200)
        if self.serves_parts:
            self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(last - first))
        self.send_header("Last-Modified", self.date_time_string(path.stat().st_mtime))
        self.end_headers()
        if with_body:
            half = self.path.startswith("/cut/")
            self.wfile.write(content[first : first + (last - first) // 2] if half else content[first:last])
        return None


class Whole(Parts):
    """Serves files whole only."""

    serves_parts = False


@contextmanager
def web_server(folder: Path, handler: type[Parts] = Parts) -> Iterator[str]:
    """A web server for a folder; gives its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
