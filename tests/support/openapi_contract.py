# SPDX-License-Identifier: Apache-2.0
"""An OpenAPI 3.1 document as a contract that answers are held against."""
import gzip
import json

import jsonschema

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")  # in the order in which Allow has them


class Contract:
    """`faults` has each disagreement, `seen` each (path, method, status), `types` each problem type."""

    def __init__(self, file: str):
        with open(file, encoding="utf-8") as source:
            self.document = json.load(source)
        self.faults: list[str] = []
        self.seen: set[tuple[str, str, int]] = set()
        self.types: set[str] = set()
        self._validators: dict[str, jsonschema.Draft202012Validator] = {}

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
        for error in self.validator(schema).iter_errors(value):
            self.faults.append(f"{where}: {error.json_path}: {error.message[:300]}")

    def check(self, path: str, method: str, status: int, headers, body: bytes, where: str) -> None:
        """`path` as the document has it; `headers`: whatever has get()."""
        responses = self.document["paths"][path][method.lower()]["responses"]
        self.seen.add((path, method, status))
        if str(status) not in responses:
            self.faults.append(f"{where}: status {status} is not described: {body[:300]!r}")
            return
        response = self.resolve(responses[str(status)])
        self.check_headers(response, headers, where)
        if headers.get("Allow") is not None:
            known = ", ".join(name for name in METHODS if name.lower() in self.document["paths"][path])
            if headers.get("Allow") != known:
                self.faults.append(f"{where}: Allow is {headers.get('Allow')}")
        if method == "HEAD" or status in (204, 304):
            if body:
                self.faults.append(f"{where}: a body where there must be none")
            return
        if headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        self.check_content(response.get("content", {}), headers.get("Content-Type"), body, where)

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
