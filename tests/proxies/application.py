"""A web application beside the pods, that knows no page and says its name when it says so."""

import threading
from http.server import BaseHTTPRequestHandler

from tests.harness import WebServer


class Application:
    """Listens for as long as the block lasts."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._server = WebServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)
        self.port = self._server.server_port

    def __enter__(self) -> "Application":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        body = self.name.encode()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(404)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET

            def log_message(self, *_: object) -> None:
                """Quiet."""

        return Handler
