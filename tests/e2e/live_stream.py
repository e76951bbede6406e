# SPDX-License-Identifier: Apache-2.0
"""The live stream, read as it comes: each event is held against the API's document, a kind without a schema is a fault."""

import contextlib
import http.client
import socket
import threading
import urllib.parse

from gateway_fixture import CONTRACT, PATIENCE, READ_TOKEN, Gateway

STREAM = "/api/v1/stream"


class Events:
    """Takes the lines of a stream; `seen` has each event that is whole: (event, data)."""

    def __init__(self, where: str):
        self.where = where
        self.seen: list[tuple[str, dict]] = []
        self.last_id = ""
        self._fields: dict[str, str] = {}

    def line(self, line: str) -> None:
        line = line.rstrip("\r\n")
        if line:
            name, _, value = line.partition(": ")
            if name and not line.startswith(":"):
                self._fields[name] = value
            return
        fields, self._fields = self._fields, {}
        self.last_id = fields.get("id", self.last_id)
        if "data" in fields:
            event = fields.get("event", "message")
            data = CONTRACT.check_event(event, fields["data"], self.where)
            if data is not None:
                self.seen.append((event, data))


class _Narrow(http.client.HTTPConnection):
    """Has hardly any room for what it does not read."""

    def connect(self) -> None:
        self.sock = socket.socket()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.sock.settimeout(self.timeout)
        self.sock.connect((self.host, self.port))


class Stream:
    """A live stream of one gateway, begun when the constructor returns. A thread of its own reads it; `held`: from
    read_on() on, and until then it has hardly any room."""

    def __init__(self, gateway: Gateway, kinds: str, *devices: str, last_id: str = "", held: bool = False):
        target = STREAM + "?" + urllib.parse.urlencode([("kinds", kinds), *(("device", device) for device in devices)])
        self._connection = (_Narrow if held else http.client.HTTPConnection)("127.0.0.1", gateway.api_port, timeout=PATIENCE * 2)
        headers = {"Authorization": f"Bearer {READ_TOKEN}", **({"Last-Event-ID": last_id} if last_id else {})}
        self._connection.request("GET", target, headers=headers)
        self._answer = self._connection.getresponse()
        CONTRACT.check_answer("GET", target, self._answer.status, self._answer.headers, b"")
        self._events = Events(f"{gateway.settings['node']['name']} {target}")
        if not held:
            self.read_on()

    def read_on(self) -> None:
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        with contextlib.suppress(OSError, ValueError, http.client.HTTPException):  # its gateway has ended, or the test
            for line in self._answer:
                self._events.line(line.decode())

    @property
    def events(self) -> list[tuple[str, dict]]:
        return list(self._events.seen)

    @property
    def last_id(self) -> str:
        return self._events.last_id

    def of(self, kind: str) -> list[dict]:
        return [data for event, data in self.events if event == kind]

    def lost(self) -> int:
        """Changes that are known to be missing. That a node was slow to answer, and so perhaps some are, does not count."""
        return sum(data["count"] or 0 for data in self.of("missed"))

    def unheard(self) -> int:
        return sum(data["count"] is None for data in self.of("missed"))

    def states(self, command: str) -> list[str]:
        return [data["state"] for data in self.of("command") if data["id"] == command]
