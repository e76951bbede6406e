# SPDX-License-Identifier: Apache-2.0
"""A way to a gateway's API on which every answer, and every event of the live stream, is held against its document: for
programs that are not the test's own, such as curl, the examples and the command line."""

import contextlib
import http.client
import http.server
import threading

from gateway_fixture import CONTRACT, PATIENCE, Gateway
from live_stream import Events

# Of one connection, and so neither asked for on the other one nor told of it (RFC 9110, section 7.6.1).
HOP_BY_HOP = ("connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade")


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_) -> None:
        pass

    def request_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass  # trailers
        return body

    def pass_on(self, connection: http.client.HTTPConnection) -> http.client.HTTPResponse:
        body = self.request_body()
        connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in (*HOP_BY_HOP, "content-length", "expect"):
                connection.putheader(name, value)
        if "Content-Length" in self.headers or "Transfer-Encoding" in self.headers:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it was answered before it was through
            connection.send(body)
        return connection.getresponse()

    def relay(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.gateway.api_port, timeout=PATIENCE * 2)
        try:
            answer = self.pass_on(connection)
            live = (answer.getheader("Content-Type") or "").startswith("text/event-stream") and self.command != "HEAD"
            content = b"" if live else answer.read()
            CONTRACT.check_answer(self.command, self.path, answer.status, answer.headers, content)
            self.send_response_only(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in (*HOP_BY_HOP, "content-length"):
                    self.send_header(name, value)
            if live:
                self.send_header("Connection", "close")
            elif self.command != "HEAD" and answer.status not in (204, 304):
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if live:
                self.relay_events(answer)
            else:
                self.wfile.write(content)
        except (OSError, http.client.HTTPException):  # one side has gone, and so the other is told
            self.close_connection = True
        finally:
            connection.close()

    def relay_events(self, answer: http.client.HTTPResponse) -> None:
        self.close_connection = True
        events = Events(f"{self.server.gateway.settings['node']['name']} {self.path}")
        for line in answer:
            events.line(line.decode())
            self.wfile.write(line)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = relay


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, gateway: Gateway):
        self.gateway = gateway
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request, client_address) -> None:
        pass  # a client that hangs up


class ContractProxy:
    """Serves until close()."""

    def __init__(self, gateway: Gateway):
        self._server = _Server(gateway)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
