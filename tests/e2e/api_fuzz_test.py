#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Requests made up from openapi.json, right and wrong in every way, against the real gateway with real devices, a store
and dead letters: every operation succeeds for some of them, and there is no answer but those described, no 5xx but 503,
and a gateway that is well afterwards.

    api_fuzz_test.py [--seconds N] [--seed N]
"""
import base64
import hashlib
import http.client
import json
import random
import re
import string
import sys
import time
import unittest
import urllib.parse

from gateway_fixture import API_TOKEN, BIN, PATIENCE, SOURCE, GatewayTestCase, Process, folder, wait_for

sys.path.insert(0, str(SOURCE / "tests/support"))
from openapi_contract import METHODS, Contract  # noqa: E402
from webhook_target import Target  # noqa: E402

SECONDS = 12.0
# However slow the machine is, the run goes on until it has seen so many.
KINDS_OF_ANSWER, KINDS_OF_PROBLEM = 250, 18
SEED = random.SystemRandom().getrandbits(32)
TOKENS = {"admin": API_TOKEN, "command": "a-token-for-commands", "read": "a-token-for-reading"}
V1 = "/api/v1"
DEVICE = V1 + "/devices/{id}"
# What makes the things that are to be found below a path.
MAKERS = {DEVICE: (DEVICE, "PUT"), DEVICE + "/credentials/{credential}": (DEVICE + "/credentials", "POST"),
          V1 + "/commands/{command}": (DEVICE + "/commands", "POST"), V1 + "/dead-letters/{id}": (V1 + "/dead-letters", "GET"),
          "/assets/{name}": ("/", "GET")}


class Generator:
    """Makes requests up. Remembers ids and tags from answers, so that some of them are there."""

    def __init__(self, contract: Contract, seed: int):
        self.contract, self.random = contract, random.Random(seed)
        self.known = {"id": ["sim-000001", "sim-000002", "pump-7", "pump-8", "1", "2"], "name": ["main", "webhook"],
                      "letter": ["1", "2"], "asset": ["none"], "command": ["none"], "credential": ["none"],
                      "etag": ['"r1"', '"d0"', '"d1"', "*"], "cursor": ["AaQ1"]}

    def learn(self, body: bytes, headers) -> None:
        def remember(kind: str, value) -> None:
            if isinstance(value, str) and value not in self.known[kind]:
                self.known[kind] = self.known[kind][-15:] + [value]

        if headers.get("ETag"):
            remember("etag", headers.get("ETag"))
        kind = headers.get("Content-Type") or ""
        if kind.startswith("text/html"):
            for name in re.findall(rb'/assets/([^"]+)"', body):
                remember("asset", name.decode())
        if not body or not kind.startswith("application/json"):
            return
        answer = json.loads(body)
        remember("cursor", answer.get("next_cursor"))
        for one in answer.get("commands", [answer] if "steps" in answer else []):
            remember("command", one.get("id"))
        for one in answer.get("credentials", [answer] if "sha256" in answer else []):
            remember("credential", one.get("id"))
        for one in answer.get("dead_letters", ()) if "next_cursor" in answer else ():  # a page of them, not a count
            remember("letter", one.get("id"))

    def chance(self, one_in: int) -> bool:
        return self.random.randrange(one_in) == 0

    def garbage(self) -> str:
        return self.random.choice([
            "", " ", "0", "-1", "1e400", "true", "null", "%", "..", "/", "a/b", "\u00e4", "\U0001f600", "'; drop table devices; --",
            "A" * 300, "*", '""', "W/\"r1\"", "2026-13-01T00:00:00Z", "9" * 30, "=", "!", "a=b=c", "&", "+",
            "".join(self.random.choices(string.printable[:94], k=self.random.randrange(1, 20)))])

    # --- values from schemas

    def value(self, schema: dict, depth: int = 0):
        """Mostly what the schema wants."""
        schema = self.contract.resolve(schema)
        pick = self.random.choice
        if self.chance(12):
            return self.wrong(depth)
        for word in ("oneOf", "allOf"):
            if word in schema:
                return self.value(pick(schema[word]), depth)
        if "enum" in schema:
            return pick(schema["enum"])
        kind = schema.get("type", "anything")
        if isinstance(kind, list):
            kind = pick(kind)
        if kind == "object":
            return self.object(schema, depth)
        if kind == "array":
            return [self.value(schema.get("items", {}), depth + 1) for _ in range(self.random.randrange(3))]
        if kind in ("integer", "number"):
            return pick([0, 1, 30, 500, 0.5, schema.get("minimum", 0), schema.get("maximum", 100)])
        if kind == "anything":
            return pick([None, True, 17, 2.5, "text", [1, {"a": None}], {"rpm": 900}])
        return {"boolean": lambda: self.chance(2), "null": lambda: None, "string": lambda: self.text(schema)}[kind]()

    def text(self, schema: dict) -> str:
        pick, pattern = self.random.choice, schema.get("pattern", "")
        if "ms|s|m|h|d" in pattern:
            return pick(["0", "10ms", "50ms", "1s", "5m", "1d"])
        if "fA-F]{64}" in pattern:
            return hashlib.sha256(self.random.randbytes(4)).hexdigest()
        if schema.get("format") == "date-time":
            return pick(["2031-01-01T00:00:00Z", "2031-01-01T00:00:00.123+02:00", "2001-01-01T00:00:00Z"])
        if schema.get("contentEncoding") == "base64":
            return base64.b64encode(self.random.randbytes(self.random.randrange(20))).decode()
        return pick(["echo", "ping", "sleep", "berlin", "pump", "a b", "x" * self.random.randrange(1, 40), "gr\u00fcn", ""])

    def object(self, schema: dict, depth: int) -> dict:
        made = {}
        for name, part in schema.get("properties", {}).items():
            if name in schema.get("required", ()) or self.chance(2):
                made[name] = self.value(part, depth + 1)
        extra = schema.get("additionalProperties")
        if isinstance(extra, dict):
            for _ in range(self.random.randrange(3)):
                made[self.random.choice(["site", "line", "k/y", "", "\u00e4"])] = self.value(extra, depth + 1)
        elif extra is None and depth < 4:
            made[self.random.choice(["interval", "mode"])] = self.value({}, depth + 1)
        if self.chance(15) and made:
            made.pop(self.random.choice(list(made)))
        if self.chance(15):
            made[self.random.choice(["nam", "x", ""])] = 1
        return made

    def wrong(self, depth: int):
        pick = self.random.choice
        return pick([None, True, -1, 1e308, 2 ** 70, self.garbage(), [], {}, [[[]]], {"": {"a": [None]}}, "\x00", "x" * 400])

    # --- requests

    def any_operation(self) -> tuple[str, str]:
        """Path of the document and method; now and then one that there is not."""
        path = self.random.choice(list(self.contract.document["paths"]))
        methods = [name.upper() for name in self.contract.document["paths"][path]]
        return path, self.random.choice(METHODS + ("TRACE", "BREW") if self.chance(40) else methods)

    def request(self, path: str, method: str) -> tuple[str, dict, bytes]:
        """Target, headers, body."""
        operation = self.contract.document["paths"][path].get(method.lower(), {})
        target, headers = self.target(path, operation)
        body = b""
        if "requestBody" in operation and not self.chance(20):
            kind, content = self.random.choice(list(operation["requestBody"]["content"].items()))
            body = self.body(kind, content["schema"])
            headers["Content-Type"] = self.random.choice(["text/plain", self.garbage()]) if self.chance(25) else kind
        elif self.chance(25):
            body = self.random.choice([b"{}", b"x", b"x" * 70_000])
        if self.chance(15):
            headers["Accept-Encoding"] = "gzip"
        if self.chance(40):
            headers["Accept"] = self.random.choice(["application/x-ndjson", "text/html", self.garbage()])
        token = TOKENS[self.random.choice(["admin"] * 8 + ["command", "read"])]
        if self.chance(25):
            token = self.random.choice(["wrong", "", self.garbage()])
        headers["Authorization"] = "Bearer " + token
        return target, {name: self.on_the_wire(value) for name, value in headers.items()}, body

    @staticmethod
    def on_the_wire(value: str) -> str:
        # What http.client would not send at all.
        return value.replace("\r", "").replace("\n", "").encode("utf-8").decode("latin-1")

    def target(self, path: str, operation: dict) -> tuple[str, dict]:
        headers = {}
        parameters = []
        for parameter in map(self.contract.resolve, operation.get("parameters", [])):
            name, place = parameter["name"], parameter["in"]
            if place == "query" and self.chance(4):
                value = self.value(parameter["schema"])
                if name == "cursor":
                    value = self.random.choice(self.known["cursor"])
                for one in value if isinstance(value, list) else [value]:
                    parameters.append((name, str(one).lower() if isinstance(one, bool) else str(one)))
            if place == "header" and self.chance(3):
                headers[name] = self.garbage() if self.chance(4) else self.random.choice(self.known["etag"] + ["key-1", "key-2"])
        if self.chance(20):
            parameters.append((self.random.choice(["bogus", "", "limi"]), self.garbage()))
        if parameters and self.chance(20):
            parameters.append(self.random.choice(parameters))
        # A command that waits a minute would hold up the rest of the run.
        parameters = [(name, "50ms" if name == "wait" and value[-1:] in ("s", "m", "h", "d") and value[-2:] != "ms" else value)
                      for name, value in parameters]
        target = path
        for name in ("id", "name", "command", "credential"):
            known = {("id", True): "letter", ("name", True): "asset"}.get((name, path.startswith((V1 + "/dead-letters", "/assets"))), name)
            value = self.garbage() if self.chance(20) else self.random.choice(self.known[known])
            target = target.replace("{" + name + "}", urllib.parse.quote(value or "x", safe="*'"))
        if parameters:
            target += "?" + urllib.parse.urlencode(parameters)
        return target, headers

    def body(self, kind: str, schema: dict) -> bytes:
        def once() -> bytes:
            return json.dumps(self.value(schema), ensure_ascii=self.chance(2)).encode("utf-8", "surrogatepass")

        if kind == "application/x-ndjson":
            text = b"\n".join(once() for _ in range(self.random.randrange(40))) + self.random.choice([b"", b"\n", b"\r\n\n"])
        else:
            text = once()
        if self.chance(12):
            text = self.random.choice([text[:len(text) // 2], text + text, b"", b"\xff\xfe", b"[" * 100, b"[" * 30_000,
                                       b"\xef\xbb\xbf" + text, b'{"a":1,"a":2}', b"NaN", text.replace(b":", b"=")])
        return text


class ApiFuzzTest(GatewayTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        target = Target()
        cls.addClassCleanup(target.close)
        target.behave(status=400)
        cls.gateway_ = cls.shared_gateway({
            "api": {"request_timeout": "20s"}, "log": {"level": "info"},
            "webhooks": [{"name": "webhook", "url": f"http://127.0.0.1:{target.port}/in", "allowed_networks": ["127.0.0.0/8"],
                          "backoff_min": "50ms", "backoff_max": "500ms"}]}, start=False)
        with open(cls.gateway_.dir / "api-tokens", "a", encoding="utf-8") as file:
            for scope in ("command", "read"):
                file.write(f"{scope} sha256:{hashlib.sha256(TOKENS[scope].encode()).hexdigest()} {scope}\n")
        cls.gateway_.start()
        sim = Process("fieldgate-sim", [BIN / "fieldgate-sim", "run", "--gateway", f"127.0.0.1:{cls.gateway_.port}", "--devices",
                                        2, "--duties", "--auth", "cert", "--ca", cls.pki.ca, "--ca-cert", cls.pki.ca,
                                        "--ca-key", cls.pki.ca_key, "--skip-server-check", "--backoff-base", "0.1",
                                        "--backoff-max", "0.5"], folder("sim") / "log")
        cls.addClassCleanup(sim.kill)
        wait_for(lambda: len(cls.gateway_.api("/api/v1/devices?online=true")["devices"]) == 2, "the simulated devices")

    def send(self, method: str, target: str, headers: dict, body: bytes) -> tuple[int, http.client.HTTPMessage, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.gateway_.api_port, timeout=PATIENCE)
        connection._validate_method = lambda method: None  # what is refused is the gateway's business
        connection._validate_path = lambda path: None
        try:
            connection.putrequest(method, target, skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name, value)
            if body or method in ("POST", "PUT", "PATCH"):
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders()
            try:
                connection.send(body)
            except (BrokenPipeError, ConnectionResetError):
                pass  # it was answered before it was through
            answer = connection.getresponse()
            # A live stream has no end.
            endless = (answer.getheader("Content-Type") or "").startswith("text/event-stream")
            return answer.status, answer.headers, b"" if endless else answer.read()
        finally:
            connection.close()

    def judge(self, contract: Contract, path: str, method: str, status: int, headers, body: bytes, where: str) -> None:
        if status >= 500 and status != 503:  # 501: there is a store
            contract.faults.append(f"{where}: {body[:300]!r}")
            return
        if method.lower() not in contract.document["paths"][path]:
            if status not in (400, 401, 405):
                contract.faults.append(f"{where}: a method that is not described")
            return
        contract.check(path, method, status, headers, body, where)

    def try_one(self, generator: Generator, path: str, method: str) -> int:
        """The status."""
        target, headers, body = generator.request(path, method)
        where = f"seed {SEED}: {method} {target} {headers} {body[:200]!r}"
        status, answered, content = self.send(method, target, headers, body)
        self.judge(generator.contract, path, method, status, answered, content, f"{where} -> {status}")
        if status < 300 and method != "HEAD" and answered.get("Content-Encoding") is None:
            generator.learn(content, answered)
        return status

    def check_health(self, contract: Contract) -> None:
        self.assertEqual(contract.faults, [])
        self.assertTrue(self.gateway_.process.alive())
        for event in ("http_handler_exception", "http_connection_exception"):
            self.assertEqual(self.gateway_.events(event), [])
        self.assertEqual(self.gateway_.api("/api/v1/nodes")["nodes"][0]["name"], "gw")

    def test_every_operation_succeeds_for_some_request(self):
        contract = Contract(str(SOURCE / "adapters/http/openapi.json"))
        generator = Generator(contract, SEED)
        operations = [(path, method.upper()) for path, item in contract.document["paths"].items() for method in item]
        # First what needs a device that is here: the others may shut it out.
        operations.sort(key=lambda operation: not operation[0].endswith("/session"))
        for path, method in operations:
            makers = [maker for below, maker in MAKERS.items()
                      if path.startswith(below) and maker != (path, method) and not path.endswith("/session")]
            deadline = time.monotonic() + PATIENCE
            while self.try_one(generator, path, method) >= 300:
                self.assertLess(time.monotonic(), deadline, f"seed {SEED}: {method} {path} never succeeds")
                for maker in makers:
                    self.try_one(generator, *maker)
        self.check_health(contract)

    def test_no_request_gets_an_answer_that_is_not_described(self):
        contract = Contract(str(SOURCE / "adapters/http/openapi.json"))
        generator = Generator(contract, SEED)
        begin = time.monotonic()
        requests = 0

        def enough() -> bool:
            return len(contract.seen) >= KINDS_OF_ANSWER and len(contract.types) >= KINDS_OF_PROBLEM

        while len(contract.faults) < 20 and (time.monotonic() < begin + SECONDS or not enough() and
                                             time.monotonic() < begin + SECONDS + 4 * PATIENCE):
            self.try_one(generator, *generator.any_operation())
            requests += 1
        print(f"seed {SEED}: {requests} requests, {len(contract.seen)} kinds of answer, {len(contract.types)} kinds of problem",
              flush=True)
        self.check_health(contract)
        self.assertGreaterEqual(len(contract.seen), KINDS_OF_ANSWER)
        self.assertGreaterEqual(len(contract.types), KINDS_OF_PROBLEM)


if __name__ == "__main__":
    for option in ("--seconds", "--seed"):
        if option in sys.argv:
            at = sys.argv.index(option)
            value = sys.argv[at + 1]
            del sys.argv[at:at + 2]
            if option == "--seconds":
                SECONDS = float(value)
            else:
                SEED = int(value)
    unittest.main(verbosity=2)
