#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A small real HTTP/1.1 server that takes what a webhook lane sends, and behaves as it is told.

    webhook_target.py [--address 127.0.0.1] [--port 0] [--record FILE] [--certificate PEM --key PEM [--client-ca PEM]]

Listens and prints one line once it does: {"port": 40001, "control_port": 40002}. It ends when its
standard input does, so that it never outlives who started it. In Python: `with Target(record=FILE) as target:`.

What it got: each request that was read whole is one JSON line in FILE (and in GET /got of the control port, from
line ?from=N), written before it is answered:

    {"n": 1, "at": 1700000000.25, "connection": 1, "peer": "127.0.0.1:5", "path": "/in?x=1", "headers": {"host": ...},
     "body": "...", "did": "answer", "status": 200}

Header names are in lower case; a body that is not UTF-8 is in "body_base64" instead. A request counts as taken by
the target if it "did" answer a 2xx "status".

How it behaves: POST a JSON object to the control port, path /behave; it replaces the behaviour before, {} is the
default. Members:

    do      what to do with a request, default "answer":
            answer     status (200), headers ({}), body ("")
            hang       read the request, never answer
            close      read the request, close without an answer
            reset      read the request, reset the connection
            half       close in the middle of the answer's head
            short      announce a longer body than comes, then close
            garbage    answer what is not HTTP
            huge_head  an answer with 1 MiB of headers
            huge_body  status, with 8 MiB of body
            endless    status, with a chunked body that never ends
            drip       status, one byte of the answer every `interval` seconds
            interim    100 Continue and 103 Early Hints, then as answer
            early      answer with `status` without reading the body (at all: it is not among what came)
            chunked    as answer, with the body in chunks
            until_close  as answer, in HTTP/1.0, without length: the body ends with the connection
            last       as answer, with Connection: close
            forget     as answer with keep-alive, then close without a word
            chatter    as answer, then a second answer that nobody asked for
    match   only requests whose body holds this text; others are answered 200
    times   how many requests; then it behaves as by default again
    delay   seconds to wait before an answer
    interval  see drip (0.05)

Whole connections, POST to the control port without a body:

    /down    stop listening and cut every connection        /up    listen again, on the same port
    /mute    accept, but say and read nothing, not even TLS  /loud  do so again
    /cut     cut every connection, and go on listening

GET /counts: {"requests": 7, "connections": 2, "open": 1}: requests read, connections accepted and open now.
"""

import argparse
import base64
import contextlib
import http.server
import itertools
import json
import pathlib
import select
import socket
import socketserver
import ssl
import struct
import sys
import threading
import time
import urllib.parse


class _Listener(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, target: "Target", handler, address: str, port: int):
        self.target = target
        super().__init__((address, port), handler)

    def handle_error(self, request, client_address):
        """A peer that hangs up is what this server is for."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body of an answer are two writes: without this the second waits for the peer's delayed ACK.
    disable_nagle_algorithm = True

    def log_message(self, format, *args):
        pass

    def setup(self):
        self.target = self.server.target
        self.number = self.target.connected(self.request)
        if self.target.tls is not None:
            try:
                self.request = self.target.tls.wrap_socket(self.request, server_side=True)
            except OSError:
                self.target.ended(self.number)
                raise
            self.target.replaced(self.number, self.request)
        super().setup()

    def finish(self):
        with contextlib.suppress(OSError):
            super().finish()
        self.target.ended(self.number)

    def do_POST(self):
        behaviour = self.target.next_behaviour(None)
        if behaviour.get("do") == "early":
            self.answer(behaviour)
            self.close_connection = True
            # Closing on what is unread would reset the connection, and the answer might be lost.
            poller = select.poll()
            poller.register(self.connection, select.POLLRDHUP)
            poller.poll(60_000)
            return
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        behaviour = self.target.next_behaviour(body)
        do = behaviour.get("do", "answer")
        self.target.got(self, body, behaviour)
        if behaviour.get("delay"):
            time.sleep(behaviour["delay"])
        try:
            getattr(self, "do_" + do)(behaviour)
        except OSError:
            self.close_connection = True

    def answer(self, behaviour, connection=None):
        body = behaviour.get("body", "").encode()
        self.send_response(behaviour.get("status", 200))
        for name, value in behaviour.get("headers", {}).items():
            self.send_header(name, value)
        if connection:
            self.send_header("Connection", connection)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def raw(self, data: bytes):
        self.connection.sendall(data)
        self.close_connection = True

    do_answer = answer

    def do_hang(self, _):
        self.target.hanging.wait()
        self.close_connection = True

    def do_close(self, _):
        self.close_connection = True

    def do_reset(self, _):
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def do_half(self, _):
        self.raw(b"HTTP/1.1 200 OK\r\nContent-Le")

    def do_short(self, _):
        self.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")

    def do_garbage(self, _):
        self.raw(b"\x16\x03\x01 SSH-2.0-OpenSSH_9.2p1 this is no HTTP\r\n\r\n" * 20)

    def do_huge_head(self, _):
        self.raw(b"HTTP/1.1 200 OK\r\n" + b"X-Filler: %s\r\n" % (b"x" * 1000) * 1000 + b"Content-Length: 0\r\n\r\n")

    def do_huge_body(self, behaviour):
        self.answer({**behaviour, "body": "z" * (8 << 20)})

    def do_endless(self, behaviour):
        self.send_response(behaviour.get("status", 200))
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while True:
            self.connection.sendall(b"400\r\n" + b"e" * 0x400 + b"\r\n")

    def do_drip(self, behaviour):
        status = behaviour.get("status", 200)
        for byte in b"HTTP/1.1 %d Slowly\r\nContent-Length: 2000\r\n\r\n" % status + b"d" * 2000:
            self.connection.sendall(bytes([byte]))
            time.sleep(behaviour.get("interval", 0.05))

    def do_interim(self, behaviour):
        self.connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
        self.answer(behaviour)

    def do_chunked(self, behaviour):
        self.send_response(behaviour.get("status", 200))
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for letter in behaviour.get("body", "abc").encode():
            self.wfile.write(b"1;note=x\r\n" + bytes([letter]) + b"\r\n")
        self.wfile.write(b"0\r\nX-Trailer: 1\r\n\r\n")

    def do_until_close(self, behaviour):
        self.raw(b"HTTP/1.0 %d Old\r\n\r\n" % behaviour.get("status", 200) + behaviour.get("body", "").encode())

    def do_last(self, behaviour):
        self.answer(behaviour, "close")

    def do_forget(self, behaviour):
        self.answer(behaviour)
        self.close_connection = True

    def do_chatter(self, behaviour):
        self.answer(behaviour)
        self.answer({"status": 200, "body": "nobody asked"})


class _Control(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format, *args):
        pass

    def reply(self, text: str, status: int = 200):
        data = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        target = self.server.target
        if url.path == "/got":
            start = int(urllib.parse.parse_qs(url.query).get("from", ["0"])[0])
            self.reply("".join(line + "\n" for line in target.lines(start)))
        elif url.path == "/counts":
            self.reply(json.dumps(target.counts()))
        else:
            self.reply("no such path\n", 404)

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        target = self.server.target
        if self.path == "/behave":
            try:
                target.behave(**json.loads(body))
            except (ValueError, TypeError) as error:
                return self.reply(f"{error}\n", 400)
        elif self.path in ("/down", "/up", "/mute", "/loud", "/cut"):
            getattr(target, self.path[1:])()
        else:
            return self.reply("no such path\n", 404)
        self.reply("ok\n")


class Target:
    """The server in this process. Any thread."""

    def __init__(self, port: int = 0, record: str | None = None, certificate: str | None = None, key: str | None = None,
                 client_ca: str | None = None, address: str = "127.0.0.1"):
        self.tls = None
        if certificate:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(certificate, key)
            if client_ca:
                self.tls.load_verify_locations(client_ca)
                self.tls.verify_mode = ssl.CERT_REQUIRED
        self._lock = threading.Lock()
        self._behaviour: dict = {}
        self._lines: list[str] = []
        self._file = open(record, "a", encoding="utf-8") if record else None
        self._connections: dict[int, socket.socket] = {}
        self._numbers = itertools.count(1)
        self._accepted = 0
        self._loud = threading.Event()
        self._loud.set()
        self.hanging = threading.Event()
        self._listener: _Listener | None = None
        self.address = address
        self.port = port
        self.up()
        self._control = _Listener(self, _Control, "127.0.0.1", 0)
        self.control_port = self._control.server_address[1]
        self._serve(self._control)

    def __enter__(self) -> "Target":
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.down()
        self._control.shutdown()
        self._control.server_close()
        self.hanging.set()

    # What to do.

    def behave(self, **behaviour):
        do = behaviour.get("do", "answer")
        if do != "early" and not hasattr(_Handler, "do_" + do) or do in ("POST", "GET"):
            raise ValueError(f"cannot do {do}")
        if unknown := behaviour.keys() - {"do", "match", "times", "delay", "interval", "status", "headers", "body"}:
            raise ValueError(f"unknown: {', '.join(sorted(unknown))}")
        with self._lock:
            self._behaviour = behaviour

    def next_behaviour(self, body: bytes | None) -> dict:
        """For one request; None: its body is not read yet, and only "early" is of interest."""
        with self._lock:
            behaviour = self._behaviour
            if body is None and behaviour.get("do") != "early":
                return {}
            if behaviour.get("match", "").encode() not in (body or b""):
                return {}
            if "times" in behaviour:
                behaviour["times"] -= 1
                if behaviour["times"] <= 0:
                    self._behaviour = {}
            return dict(behaviour)

    def down(self):
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.shutdown()
            listener.server_close()
        self.cut()

    def up(self):
        if self._listener is None:
            self._listener = _Listener(self, _Handler, self.address, self.port)
            self.port = self._listener.server_address[1]
            self._serve(self._listener)

    def mute(self):
        self._loud.clear()

    def loud(self):
        self._loud.set()

    def cut(self):
        with self._lock:
            connections = list(self._connections.values())
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    # What came.

    def got(self, handler: _Handler, body: bytes, behaviour: dict):
        do = behaviour.get("do", "answer")
        entry = {
            "n": 0, "at": time.time(), "connection": handler.number, "peer": "%s:%d" % handler.client_address[:2],
            "path": handler.path, "headers": {name.lower(): value for name, value in handler.headers.items()}}
        try:
            entry["body"] = body.decode()
        except UnicodeDecodeError:
            entry["body_base64"] = base64.b64encode(body).decode()
        entry["did"] = do
        entry["status"] = behaviour.get("status", 200)
        with self._lock:
            entry["n"] = len(self._lines) + 1
            self._lines.append(json.dumps(entry))
            if self._file:
                self._file.write(self._lines[-1] + "\n")
                self._file.flush()

    def lines(self, start: int = 0) -> list[str]:
        with self._lock:
            return self._lines[start:]

    def requests(self, start: int = 0) -> list[dict]:
        return [json.loads(line) for line in self.lines(start)]

    def counts(self) -> dict:
        with self._lock:
            return {"requests": len(self._lines), "connections": self._accepted, "open": len(self._connections)}

    # Connections, told by the handlers.

    def connected(self, connection: socket.socket) -> int:
        with self._lock:
            number = next(self._numbers)
            self._accepted += 1
            self._connections[number] = connection
        self._loud.wait()
        return number

    def replaced(self, number: int, connection: socket.socket):
        with self._lock:
            self._connections[number] = connection

    def ended(self, number: int):
        with self._lock:
            self._connections.pop(number, None)

    @staticmethod
    def _serve(listener: _Listener):
        threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()


def main() -> int:
    parser = argparse.ArgumentParser(description="takes webhooks, and behaves as it is told")
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--record", type=pathlib.Path)
    for name in ("certificate", "key", "client-ca"):
        parser.add_argument("--" + name)
    options = parser.parse_args()
    with Target(options.port, options.record, options.certificate, options.key, options.client_ca,
                options.address) as target:
        print(json.dumps({"port": target.port, "control_port": target.control_port}), flush=True)
        sys.stdin.buffer.read()
    return 0


if __name__ == "__main__":
    sys.exit(main())
