"""Servers on the loopback, each in a thread for as long as a test needs it."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Server(ThreadingHTTPServer):
    """Listens from the start; `host` is its address with the port."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.host = f"127.0.0.1:{self.server_port}"
        self._handler = handler

    @contextmanager
    def serving(self, **known: object) -> Iterator[None]:
        """Answer by handlers that have these attributes."""
        own = {"protocol_version": "HTTP/1.1", "log_message": _say_nothing}
        self.RequestHandlerClass = type("BoundHandler", (self._handler,), {**own, **known})
        thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield
        finally:
            self.shutdown()
            self.server_close()
            thread.join()

    def handle_error(self, *_: object) -> None:
        pass  # clients hang up here on purpose


def _say_nothing(*_: object) -> None:
    pass
