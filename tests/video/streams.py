"""Small servers on this machine: MPEG-TS and JPEG frames over HTTP, and MPEG-TS over RTSP."""

from __future__ import annotations

import http.server
import io
import socketserver
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from numpy.typing import NDArray
from PIL import Image

Give = Callable[[int, Callable[[bytes], object]], None]
"""Called for each connection with its number, from 1, and what sends bytes; returning ends it."""


def pieces(content: bytes, delay_s: float = 0.0) -> Give:
    """Send all of it, in pieces of 7 transport packets, as streams do."""

    def give(_: int, send: Callable[[bytes], object]) -> None:
        for at in range(0, len(content), 7 * 188):
            send(content[at : at + 7 * 188])
            time.sleep(delay_s)

    return give


def jpegs(frames: Sequence[NDArray[Any]], delay_s: float = 0.0) -> Give:
    """Send images as cameras on the network do: multipart/x-mixed-replace."""

    def give(_: int, send: Callable[[bytes], object]) -> None:
        for pixels in frames:
            buffer = io.BytesIO()
            Image.fromarray(pixels).save(buffer, "JPEG")
            head = f"--next\r\nContent-Type: image/jpeg\r\nContent-Length: {buffer.tell()}\r\n\r\n"
            send(head.encode() + buffer.getvalue() + b"\r\n")
            time.sleep(delay_s)

    return give


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address, daemon_threads = True, True
    give: Give
    kind = "video/mp2t"
    asked = 0

    def handle_error(self, *_: object) -> None:
        return  # whoever listens may go


class _Http(http.server.BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        self.server.asked += 1
        self.send_response(200)
        self.send_header("Content-Type", self.server.kind)
        self.end_headers()
        self.server.give(self.server.asked, self.wfile.write)

    def log_message(self, *_: object) -> None:
        return


class _Rtsp(socketserver.StreamRequestHandler):
    """Answers what FFmpeg asks, and sends RTP on the same connection (RFC 2326, 10.12)."""

    server: _Server
    _number = 0

    def handle(self) -> None:
        while True:
            request = self._request()
            if not request:
                return
            self._answer(request)
            if request[0].startswith("PLAY"):
                self.server.asked += 1
                self.server.give(self.server.asked, self._send)
                return

    def _request(self) -> list[str]:
        lines: list[str] = []
        while (line := self.rfile.readline().decode().strip()) or not lines:
            if not line:
                return lines
            lines.append(line)
        return lines

    def _answer(self, request: list[str]) -> None:
        number = next(line for line in request if line.lower().startswith("cseq"))
        more, body = ["Session: 1"], ""
        if request[0].startswith("OPTIONS"):
            more = ["Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN"]
        elif request[0].startswith("DESCRIBE"):
            body = (
                "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=test\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
                "m=video 0 RTP/AVP 33\r\na=control:track0\r\n"
            )
            more = ["Content-Type: application/sdp", f"Content-Length: {len(body)}"]
        elif request[0].startswith("SETUP"):
            more = ["Transport: RTP/AVP/TCP;unicast;interleaved=0-1", "Session: 1"]
        head = "\r\n".join(["RTSP/1.0 200 OK", number, *more])
        self.wfile.write(f"{head}\r\n\r\n{body}".encode())

    def _send(self, payload: bytes) -> None:
        self._number += 1
        clock = int(time.monotonic() * 90_000) % 2**32
        rtp = bytes([0x80, 33]) + self._number.to_bytes(2, "big") + clock.to_bytes(4, "big")
        packet = rtp + (7).to_bytes(4, "big") + payload
        self.wfile.write(b"$\x00" + len(packet).to_bytes(2, "big") + packet)


@contextmanager
def serving(give: Give, scheme: str = "http", kind: str = "video/mp2t") -> Iterator[Any]:
    """Run a server; give it, with its `address`, how often it was `asked`, and `stop`."""
    server: Any = _Server(("127.0.0.1", 0), _Rtsp if scheme == "rtsp" else _Http)
    server.give, server.kind = give, kind
    server.address = f"{scheme}://127.0.0.1:{server.server_address[1]}/live"
    over = threading.Event()

    def stop() -> None:
        if not over.is_set():
            over.set()
            server.shutdown()
            server.server_close()

    server.stop = stop
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield server
    finally:
        stop()
