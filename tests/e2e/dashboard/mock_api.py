#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A made-up gateway for work on the dashboard: its page, and plausible answers of the API that keep moving.

    mock_api.py SITE [--port 8099] [--devices 400] [--empty] [--scope admin]

SITE is the folder that dashboard/build.py leaves (WORK/site). The token is "dev". Nothing here is asked by a test.
"""

import argparse
import base64
import http.server
import itertools
import json
import math
import pathlib
import random
import threading
import time
import urllib.parse

BEGAN = time.time()
TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".html": "text/html; charset=utf-8"}
POLICY = ("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; "
          "form-action 'none'; frame-ancestors 'none'")
SITES = ["berlin", "porto", "oslo", "turin"]


def iso(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f".{int(at * 1000) % 1000:03d}Z"


class World:
    def __init__(self, count: int, scope: str):
        self.scope, self.lock, self.numbers = scope, threading.Lock(), itertools.count(1)
        dice = random.Random(7)
        self.devices = {}
        for i in range(count):
            online = dice.random() > 0.12
            name = f"{dice.choice(['pump', 'meter', 'valve', 'sensor'])}-{i:05d}"
            since = BEGAN - dice.random() * 90000
            self.devices[name] = {
                "id": name, "online": online, "inactive": online and dice.random() < 0.03, "epoch": str(1836311903748097 + i),
                "since": iso(since), "last_seen": iso(BEGAN if online else since), "last_data": iso(BEGAN if online else since),
                "firmware": dice.choice(["2.1.0", "2.1.0", "2.0.7", "2.2.0-rc1"]),
                "labels": {"site": dice.choice(SITES), "line": str(dice.randrange(1, 9))}, "node": "gw-1",
                "reason": None if online else dice.choice(["heartbeat_lost", "bye", "unclean_close", "device_disabled", "taken_over"]),
                "registered": True, "enabled": dice.random() > 0.02, "note": "North hall, by the door" if dice.random() < 0.1 else ""}
        if count:
            self.devices["<img src=x onerror=alert(1)>"] = {**self.devices[name], "id": "evil-<b>1</b>", "labels": {"<script>": "</td><i>x"}}
        self.commands: list[dict] = []
        self.letters = [{"id": str(i), "lane": "main" if i % 3 else "erp", "kind": "event", "device": name, "name": "door", "stream": "5133",
                         "seq": str(80 + i), "epoch": "1836311903748097", "received": iso(BEGAN - 500 + i), "refused": iso(BEGAN - 499 + i),
                         "target": f"fieldgate/v1/devices/{name}/events/door", "reason": "payload_format_invalid",
                         "detail": "the broker said: payload format invalid", "payload_bytes": 41}
                        for i, name in enumerate(itertools.islice(self.devices, 14), 1)]
        self.paused: set[str] = set()
        self.desired = {"version": 3, "document": {"interval_s": 10, "mode": "eco", "limits": {"pressure": 4.5}}}

    def overview(self) -> dict:
        up = time.time() - BEGAN + 5000
        online = sum(d["online"] for d in self.devices.values())
        work = bool(self.devices)
        records = int(up * 1200 + 9000 * math.sin(up / 17) + 4000 * math.sin(up / 5)) if work else 0
        return {
            "time": iso(time.time()), "node": "gw-1", "token": {"name": "dev", "scope": self.scope},
            "devices": {"known": len(self.devices), "registered": len(self.devices), "online": online,
                        "inactive": sum(d["inactive"] for d in self.devices.values()), "sessions": online},
            "connections": {"open": online + 3, "handshakes": 2}, "admitted": int(up / 3) if work else 0,
            "ends": {"heartbeat_lost": int(up / 11), "bye": int(up / 9), "unclean_close": int(up / 30), "taken_over": int(up / 100)} if work else {},
            "records": {"telemetry": records, "event": int(up * 3) if work else 0}, "bytes_in": records * 96, "bytes_out": 4000000, "rejects": {},
            "uplink": {"level": "normal", "bytes": 7340032, "bytes_max": 67108864, "records": 14211},
            "spool": {"state": "ok", "bytes": 356515840, "bytes_max": 536870912}, "lanes": self.lanes(),
            "dead_letters": {"count": len(self.letters), "bytes": 574 * len(self.letters)},
            "certificates": [{"name": "devices", "not_after": iso(time.time() + 86400 * 71)}, {"name": "api", "not_after": iso(time.time() + 86400 * 6)}],
            "store": {"available": True, "description": "SQLite /var/lib/fieldgate/fieldgate.db", "last_error": None, "waiting": 0},
            "readiness": {"ready": True, "reasons": [{"name": "lane_down", "text": "lane erp: connection refused by 10.0.0.9:443", "blocks": False}] if work else []},
            "stream": {"subscribers": 2}, "process": {"memory_bytes": 187695104, "cpu_seconds": up * 0.34, "uptime_seconds": up}}

    def lanes(self) -> list:
        if not self.devices:
            return []
        records = int((time.time() - BEGAN + 5000) * 1200)

        def lane(name, kind, to, state, pending, error):
            return {"name": name, "type": kind, "destination": to, "required": kind == "mqtt", "state": state, "since": iso(BEGAN - 4000),
                    "held": name in self.paused, "last_error": error, "records_in": records, "pending_records": pending,
                    "oldest_pending_ms": pending * 3, "forwarded_records": records - pending - 1200 - 14, "filtered_records": 1200,
                    "dead_lettered_records": 14, "expired_records": 0, "skipped_records": 0,
                    "dead_letters": {"kept": sum(x["lane"] == name for x in self.letters), "bytes": 5740, "evicted": 0}}

        return [lane("main", "mqtt", "10.0.0.5:8883", "running", 12, None),
                lane("erp", "webhook", "https://erp.example/in", "backing_off", 48211, "connection refused by 10.0.0.9:443"),
                lane("store", "store", "fieldgate.db", "running", 0, None)]

    def device(self, d: dict) -> dict:
        now = time.time()
        return {**d, "registry": {"enabled": d["enabled"], "labels": d["labels"], "note": d["note"], "automatic": False, "created": iso(BEGAN - 9e6),
                                  "updated": iso(BEGAN - 8e5), "revision": 41, "etag": '"r41"', "credentials": 2},
                "live": {"address": "10.4.17.8:51234", "tls": {"version": "TLSv1.3", "cipher": "TLS_AES_256_GCM_SHA384", "resumed": False},
                         "credential": "certificate", "ack_stage": "spooled", "heartbeat_seconds": 30, "frames_received": 48211,
                         "bytes_received": 4628256, "unacked_frames": 2, "credit_frames": 64} if d["online"] else None,
                "streams": [{"id": "8173377120001", "received_through": "48211", "forwarded_through": "48209", "gaps": 0, "duplicates": 4}],
                "last_values": [{**m, "time": iso(now)} for m in self.metrics(now)], "truncated": False}

    @staticmethod
    def metrics(now: float) -> list:
        return [{"name": "temperature", "type": "double", "value": 21.5 + 3 * math.sin(now / 9) + random.random() / 2, "quality": "good"},
                {"name": "pressure", "type": "double", "value": 4.1 + math.sin(now / 23) / 3, "quality": "uncertain"},
                {"name": "rpm", "type": "int", "value": int(1480 + 20 * math.sin(now / 4)), "quality": "good"},
                {"name": "running", "type": "bool", "value": True, "quality": "good"},
                {"name": "serial", "type": "string", "value": "AX-77-0113", "quality": "good"}]

    def command(self, device: str, body: dict) -> dict:
        now = time.time()
        command = {"id": f"c{next(self.numbers):06d}", "device": device, "name": body["name"], "payload": body.get("payload"), "payload_base64": "",
                   "created": iso(now), "expires": iso(now + 600), "timeout_ms": 10000, "at_most_once": False, "source": "api:dev", "state": "succeeded",
                   "final": True, "cancel_wanted": False, "sends": 1,
                   "steps": [{"state": s, "time": iso(now + i * 0.012), "epoch": "1836311903748097" if i else "0", "detail": ""}
                             for i, s in enumerate(["queued", "sent", "acknowledged", "succeeded"])],
                   "result": {"text": "done", "payload": {"pong": True, "uptime_s": 51233}, "payload_base64": ""}}
        self.commands.insert(0, command)
        return command

    def twin(self) -> dict:
        return {"device": "x", "reported": {"version": 12, "time": iso(BEGAN - 60), "document": {"interval_s": 30, "mode": "eco", "firmware": "2.1.0"}},
                "desired": {**self.desired, "time": iso(BEGAN - 20), "etag": f'"d{self.desired["version"]}"'},
                "acknowledged": {"version": 2, "time": iso(BEGAN - 300), "error": None}, "delta": {"interval_s": 10, "limits": {"pressure": 4.5}}}

    @staticmethod
    def timeline() -> list:
        rows = [("connected", {"address": "10.4.17.8:51234", "tls": "TLSv1.3", "cipher": "TLS_AES_256_GCM_SHA384", "resumed": "true", "credential": "certificate",
                               "certificate_sha256": "4c" * 32, "certificate_subject": "CN=pump-1,O=Example", "certificate_not_after": "2027-03-01T12:00:00Z", "stage": "spooled", "firmware": "2.1.0"}),
                ("refused", {"reason": "takeover_rate", "address": "10.9.1.2:4411", "detail": "5 takeovers in 10 s"}),
                ("disconnected", {"reason": "heartbeat_lost", "duration_ms": "8123000", "frames": "48211", "detail": "45 s of silence"}),
                ("throttled", {"frames": "0", "bytes": "0", "reason": "backlog"}), ("throttled", {"frames": "64", "bytes": "262144", "reason": "recovered"}),
                ("rejected", {"code": "MALFORMED", "text": "metric 3 has no value", "seq": "4711", "count": "3"}),
                ("command", {"id": "c1", "name": "reboot", "state": "timed_out", "detail": "no result within 10 s"}),
                ("twin", {"what": "acknowledged", "version": "2"}), ("registry", {"what": "disabled", "by": "api:ann"}), ("registry", {"what": "enabled", "by": "api:ann"}),
                ("taken_over", {"by": "10.9.1.2:4411"}), ("dropped", {"reason": "outbox_full", "count": "2"})]
        return [{"number": 900 - i, "time": iso(BEGAN - 700 * i), "kind": kind, "epoch": "1836311903748097", "fields": fields} for i, (kind, fields) in enumerate(rows)]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def send(self, status: int, body, kind: str = "application/json", **headers):
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)

    def problem(self, status: int, kind: str, detail: str, **headers):
        self.send(status, {"type": f"/problems/{kind}", "title": kind.replace("-", " "), "status": status, "detail": detail}, "application/problem+json", **headers)

    def stream(self, query: dict):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        world, n = self.server.world, 0
        self.event(0, "hello", {"node": "gw-1", "boot_id": "b1"})
        while True:
            n += 1
            if query.get("device"):
                self.event(n, "telemetry", {"device": query["device"][0], "stream": "1", "seq": n, "received_unix_ms": int(time.time() * 1000),
                                            "telemetry": {"samples": [{"metrics": world.metrics(time.time())}]}})
            elif world.devices:
                d = random.choice(list(world.devices.values()))
                self.event(n, "presence", {"device": d["id"], "online": n % 2 == 0, "epoch": "1", "node": "gw-1", "unix_ms": 0, "reason": None if n % 2 == 0 else "heartbeat_lost"})
            time.sleep(1)

    def event(self, n: int, kind: str, data: dict):
        self.wfile.write(f"id: gw-1.b1.{n}\nevent: {kind}\ndata: {json.dumps(data)}\n\n".encode())
        self.wfile.flush()

    def handle_one(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else {}
        url = urllib.parse.urlsplit(self.path)
        query = urllib.parse.parse_qs(url.query)
        if not url.path.startswith("/api/"):
            file = self.server.site / (url.path.lstrip("/") or "index.html")
            if not file.is_file():
                return self.problem(404, "not-found", "no such file")
            return self.send(200, file.read_bytes(), TYPES[file.suffix], Content_Security_Policy=POLICY)
        if self.headers.get("Authorization") != "Bearer dev":
            return self.problem(401, "unauthenticated", "the bearer token is not known here")
        if self.command != "GET" and self.server.world.scope == "read":
            return self.problem(403, "forbidden", "the token 'dev' has scope read", WWW_Authenticate='Bearer error="insufficient_scope", scope="admin"')
        parts = [urllib.parse.unquote(p) for p in url.path.split("/")[3:]]
        return self.api(parts, query, body)

    def api(self, parts: list, query: dict, body: dict):
        world = self.server.world
        if parts[0] == "stream":
            return self.stream(query)
        if parts[0] == "overview":
            return self.send(200, world.overview())
        if parts[0] == "lanes":
            if len(parts) == 3:
                (world.paused.add if parts[2] == "pause" else world.paused.discard)(parts[1])
            return self.send(200, {"lanes": world.lanes()})
        if parts[0] == "dead-letters":
            return self.dead_letters(parts, query)
        if parts[0] == "nodes":
            return self.send(200, {"nodes": [{"name": "gw-1", "boot_id": "5f0c1a9e", "version": "0.1.0", "started": iso(BEGAN - 5000), "shards": 4,
                                              "sessions": 351, **world.overview()["readiness"]}]})
        if parts[0] == "refusals":
            return self.send(200, {"refusals": [{"time": iso(BEGAN - 9 * i), "reason": r, "address": f"203.0.113.{i}:4{i}11", "detail": ""} for i, r in
                                                enumerate(["tls_failed", "unauthenticated", "certificate_rejected", "upgrade_origin"])]})
        if parts[0] == "commands":
            return self.send(200, next(c for c in world.commands if c["id"] == parts[1]))
        if len(parts) == 1:
            return self.list(query)
        d = next((d for d in world.devices.values() if d["id"] == parts[1]), None)
        if d is None:
            return self.problem(404, "device-not-found", f"no device '{parts[1]}' is known to this node")
        return self.device(d, parts, query, body)

    def dead_letters(self, parts: list, query: dict):
        world = self.server.world
        mine = [x for x in world.letters if all(query.get(k, [x[k]])[0] == x[k] for k in ("lane", "device"))]
        if len(parts) == 1 and self.command == "GET":
            return self.send(200, {"dead_letters": mine, "next_cursor": None})
        if self.command == "GET":
            letter = next(x for x in world.letters if x["id"] == parts[1])
            return self.send(200, {**letter, "payload": base64.b64encode(b'{"open":true,"by":"badge 4711"}').decode()})
        if len(parts) == 1 or parts[1] == "replay":
            world.letters = [x for x in world.letters if x not in mine]
            return self.send(200, {"done": len(mine), "more": False, "next_cursor": None, "stopped": None})
        world.letters = [x for x in world.letters if x["id"] != parts[1]]
        return self.send(204, None)

    def list(self, query: dict):
        get = lambda name: query.get(name, [""])[0]  # noqa: E731
        found = [d for d in self.server.world.devices.values() if get("text") in d["id"] + d["note"] + " ".join(d["labels"].values())
                 and (not get("online") or d["online"] == (get("online") == "true")) and get("reason") in ("", d["reason"])]
        start, limit = int(get("cursor") or 0), int(get("limit") or 100)
        return self.send(200, {"devices": found[start:start + limit], "count": len(found), "next_cursor": str(start + limit) if start + limit < len(found) else None})

    def device(self, d: dict, parts: list, query: dict, body: dict):
        world = self.server.world
        what = parts[2] if len(parts) > 2 else ""
        if what == "":
            if self.command == "PATCH":
                d.update(body)
            return self.send(200, world.device(d))
        if what == "commands":
            if self.command == "POST":
                return self.send(200, world.command(d["id"], body))
            return self.send(200, {"commands": [c for c in world.commands if c["device"] == d["id"]], "next_cursor": None})
        if what == "twin":
            if self.command != "GET":
                world.desired = {"version": world.desired["version"] + 1, "document": body}
            return self.send(200, world.twin())
        if what == "timeline":
            return self.send(200, {"entries": world.timeline(), "next_cursor": None})
        if what == "presence":
            return self.send(200, {"events": [{"number": i, "time": iso(BEGAN - 7000 * (11 - i)), "online": i % 2 == 1, "epoch": str(1836311903748000 + i), "node": "gw-1",
                                               "reason": None if i % 2 else "heartbeat_lost"} for i in range(1, 12)], "next_cursor": None})
        if what == "credentials":
            if self.command == "POST":
                return self.send(201, {"id": "k9", "kind": "token", "created": iso(time.time()), "expires": None, "note": "", "sha256": "ab" * 32,
                                       "token": base64.urlsafe_b64encode(random.randbytes(32)).decode().rstrip("=")})
            return self.send(200, {"credentials": [{"id": "k1", "kind": "token", "created": iso(BEGAN - 9e5), "expires": iso(BEGAN + 9e5), "note": "factory", "sha256": "9f" * 32},
                                                   {"id": "k2", "kind": "certificate", "created": iso(BEGAN - 9e5), "expires": None, "note": "", "sha256": "3c" * 32}]})
        return self.send(204, None)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_one


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("site", type=pathlib.Path)
    parser.add_argument("--port", type=int, default=8099)
    parser.add_argument("--devices", type=int, default=400)
    parser.add_argument("--empty", action="store_true")
    parser.add_argument("--scope", default="admin")
    arguments = parser.parse_args()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", arguments.port), Handler)
    server.site, server.world = arguments.site, World(0 if arguments.empty else arguments.devices, arguments.scope)
    print(f"http://127.0.0.1:{arguments.port}/#token=dev", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
