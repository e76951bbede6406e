# SPDX-License-Identifier: Apache-2.0
"""An OpenAPI 3.1 document as a contract that answers are held against."""
import gzip
import json
import threading
import urllib.parse

import jsonschema

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")  # in the order in which Allow has them
STREAM = "/api/v1/stream"
# What answers where there is no such path, or no such method.
STRAY = {400: "BadRequest", 401: "Unauthenticated", 404: "NotFound", 405: "MethodNotAllowed", 408: "RequestTimeout",
         413: "BodyTooLarge", 431: "HeadersTooLarge", 500: "InternalError", 503: "Unavailable"}


class Contract:
    """`faults` has each disagreement, `seen` each (path, method, status), `types` each problem type, `events` each kind of
    event. Any thread."""

    def __init__(self, file: str):
        with open(file, encoding="utf-8") as source:
            self.document = json.load(source)
        stream = self.document["paths"][STREAM]["get"]["responses"]["200"]["content"]["text/event-stream"]
        self.event_schemas: dict[str, dict] = stream["x-events"]
        self.faults: list[str] = []
        self.seen: set[tuple[str, str, int]] = set()
        self.types: set[str] = set()
        self.events: set[str] = set()
        self._validators: dict[str, jsonschema.Draft202012Validator] = {}
        self._lock = threading.RLock()  # a validator keeps where it is in its schema

    def take_faults(self) -> list[str]:
        with self._lock:
            faults, self.faults = self.faults, []
            return faults

    def resolve(self, node: dict) -> dict:
        while "$ref" in node:
            target = self.document
            for part in node["$ref"].removeprefix("#/").split("/"):
                target = target[part.replace("~1", "/").replace("~0", "~")]
            node = target
        return node

    def validator(self, schema: dict) -> jsonschema.Draft202012Validator:
        key = json.dumps(schema, sort_keys=True)
        if key not in self._validators:
            # The components come along, so that references inside the schema resolve.
            whole = {"$schema": "https://json-schema.org/draft/2020-12/schema", "components": self.document["components"],
                     "allOf": [schema]}
            self._validators[key] = jsonschema.Draft202012Validator(
                whole, format_checker=jsonschema.draft202012_format_checker)
        return self._validators[key]

    def validate(self, schema: dict, value, where: str) -> None:
        with self._lock:
            for error in self.validator(schema).iter_errors(value):
                self.faults.append(f"{where}: {error.json_path}: {error.message[:300]}")

    def template(self, target: str) -> str | None:
        """The path of the document that a request's target is of, a literal segment before a {parameter}; None: of none."""
        segments = [urllib.parse.unquote(segment) for segment in target.partition("?")[0].split("/")]
        fitting = []
        for path in self.document["paths"]:
            parts = path.split("/")
            if len(parts) == len(segments) and all(
                    segment if part.startswith("{") else segment == part for part, segment in zip(parts, segments)):
                fitting.append(([part.startswith("{") for part in parts], path))
        return min(fitting)[1] if fitting else None

    def check_answer(self, method: str, target: str, status: int, headers, body: bytes) -> None:
        """To whatever request; `target` as it was sent."""
        path, where = self.template(target), f"{method} {target} -> {status}"
        with self._lock:
            if path is not None and method.lower() in self.document["paths"][path]:
                self.check(path, method, status, headers, body, where)
            elif status in STRAY:
                self.check_response(self.document["components"]["responses"][STRAY[status]], method, status, headers, body, where)
            else:
                self.faults.append(f"{where}: nothing like it is described")

    def check_event(self, name: str, data: str, where: str):
        """Of the live stream: its `event` and its `data`, which is returned; None: it is no JSON."""
        with self._lock:
            self.events.add(name)
            try:
                value = json.loads(data)
            except ValueError as error:
                self.faults.append(f"{where}: event {name}: {error}: {data[:300]}")
                return None
            if name in self.event_schemas:
                self.validate(self.event_schemas[name], value, f"{where}: event {name}")
            else:
                self.faults.append(f"{where}: event {name} is not described: {data[:300]}")
            return value

    def check(self, path: str, method: str, status: int, headers, body: bytes, where: str) -> None:
        """`path` as the document has it; `headers`: whatever has get()."""
        responses = self.document["paths"][path][method.lower()]["responses"]
        self.seen.add((path, method, status))
        if str(status) not in responses:
            self.faults.append(f"{where}: status {status} is not described: {body[:300]!r}")
            return
        response = self.resolve(responses[str(status)])
        if headers.get("Allow") is not None:
            known = ", ".join(name for name in METHODS if name.lower() in self.document["paths"][path])
            if headers.get("Allow") != known:
                self.faults.append(f"{where}: Allow is {headers.get('Allow')}")
        self.check_response(response, method, status, headers, body, where)

    def check_response(self, response: dict, method: str, status: int, headers, body: bytes, where: str) -> None:
        self.check_headers(response, headers, where)
        if method == "HEAD" or status in (204, 304):
            if body:
                self.faults.append(f"{where}: a body where there must be none")
            return
        if headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        try:
            self.check_content(response.get("content", {}), headers.get("Content-Type"), body, where)
        except ValueError as error:
            self.faults.append(f"{where}: {error}: {body[:300]!r}")
            return
        if (headers.get("Content-Type") or "").startswith("application/problem+json"):
            problem = json.loads(body)
            if problem["status"] != status or not problem["instance"].endswith(headers.get("X-Request-Id") or "?"):
                self.faults.append(f"{where}: the problem says {problem}")

    def check_headers(self, response: dict, headers, where: str) -> None:
        for name, header in response.get("headers", {}).items():
            header = self.resolve(header)
            value = headers.get(name)
            if value is not None:
                self.validate(header["schema"], value, f"{where}: {name}")
            elif header.get("required"):
                self.faults.append(f"{where}: no {name}")

    def check_content(self, content: dict, kind: str | None, body: bytes, where: str) -> None:
        kind = (kind or "").split(";")[0]
        if kind not in content and "*/*" in content:
            return
        if kind not in content:
            self.faults.append(f"{where}: Content-Type {kind!r} is not described")
            return
        schema = content[kind]["schema"]
        if kind == "application/x-ndjson":
            for line in body.splitlines():
                self.validate(schema, json.loads(line), where)
        elif kind.endswith("json"):
            value = json.loads(body)
            self.validate(schema, value, where)
            if kind == "application/problem+json":
                self.types.add(value["type"])
