#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Holds answers of a running API against its OpenAPI document.

    check_openapi.py BASE_URL ADMIN_TOKEN READ_TOKEN OPENAPI_JSON

Asks every path with every method the document has, and with every query
parameter; provokes every problem that can be provoked from outside; and checks
status, headers and body of each answer. Expects the devices sensor-1 (online)
and sensor-2 (offline), the lanes main and archive, and dead letters: 1 of a lane
that is no more, 10 that its lane would not take any more, the rest of main, for
which the log has room for four.
Prints each disagreement and exits with 1 if there is any.
"""
import gzip
import http.client
import json
import sys
import urllib.parse

import jsonschema

BASE, TOKEN, LOOKING, FILE = sys.argv[1:5]
ADDRESS = urllib.parse.urlsplit(BASE)
with open(FILE, encoding="utf-8") as file:
    DOCUMENT = json.load(file)
FAULTS = []
SEEN = set()  # (path, method, status)
SEEN_TYPES = set()


def resolve(node):
    while "$ref" in node:
        target = DOCUMENT
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part.replace("~1", "/").replace("~0", "~")]
        node = target
    return node


def validate(schema, value, where):
    # The components come along, so that references inside the schema resolve.
    whole = {"$schema": "https://json-schema.org/draft/2020-12/schema", "components": DOCUMENT["components"],
             "allOf": [schema]}
    validator = jsonschema.Draft202012Validator(whole, format_checker=jsonschema.draft202012_format_checker)
    for error in validator.iter_errors(value):
        FAULTS.append(f"{where}: {error.json_path}: {error.message[:300]}")


def check(path, method, answer, body, where):
    responses = DOCUMENT["paths"][path][method.lower()]["responses"]
    SEEN.add((path, method, answer.status))
    if str(answer.status) not in responses:
        FAULTS.append(f"{where}: status {answer.status} is not described")
        return
    response = resolve(responses[str(answer.status)])
    for name, header in response.get("headers", {}).items():
        header = resolve(header)
        value = answer.getheader(name)
        if value is None:
            FAULTS.append(f"{where}: no {name}")
        else:
            validate(header["schema"], value, f"{where}: {name}")
    if answer.getheader("Allow") is not None:
        known = [name for name in ("GET", "HEAD", "POST", "DELETE", "OPTIONS") if name.lower() in DOCUMENT["paths"][path]]
        if answer.getheader("Allow") != ", ".join(known):
            FAULTS.append(f"{where}: Allow is {answer.getheader('Allow')}")
    if method == "HEAD" or answer.status in (204, 304):
        if body:
            FAULTS.append(f"{where}: a body where there must be none")
        return
    if answer.getheader("Content-Encoding") == "gzip":
        body = gzip.decompress(body)
    kind = answer.getheader("Content-Type")
    content = response.get("content", {})
    if kind not in content:
        FAULTS.append(f"{where}: Content-Type {kind} is not described")
        return
    value = json.loads(body)
    validate(content[kind]["schema"], value, where)
    if kind == "application/problem+json":
        SEEN_TYPES.add(value["type"])
        if value["status"] != answer.status:
            FAULTS.append(f"{where}: says status {value['status']}")
        if not value["instance"].endswith(answer.getheader("X-Request-Id")):
            FAULTS.append(f"{where}: instance is not the request's id")


def ask(path, method="GET", query="", expect=200, headers=None, body=None, **places):
    """Asks `path` of the document, with its {places} filled in, and checks the answer."""
    target = path.format(**places) + ("?" + query if query else "")
    fields = {"Authorization": "Bearer " + TOKEN, **(headers or {})}
    connection = http.client.HTTPConnection(ADDRESS.hostname, ADDRESS.port, timeout=5)
    connection.request(method, target, body=body, headers={k: v for k, v in fields.items() if v is not None})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    where = f"{method} {target} -> {answer.status}"
    if answer.status != expect:
        FAULTS.append(f"{where}: expected {expect}: {content[:200]!r}")
    check(path, method, answer, content, where)
    return answer, content


def example(path):
    if path.startswith("/api/v1/devices/"):
        return {"id": "sensor-1"}
    return {"name": "main"} if "{name}" in path else {"id": "2"} if "{id}" in path else {}


def nothing(path):
    """Places at which there is nothing."""
    return [{"name": "nowhere"}] if "{name}" in path else [{"id": "9999"}, {"id": "sensor-9"}] if "{id}" in path else []


def refusals(path, method):
    """What holds for every method that needs a token; nothing is changed by it."""
    places = example(path)
    ask(path, method, headers={"Authorization": None}, expect=401, **places)
    ask(path, method, headers={"Authorization": "Bearer no"}, expect=401, **places)
    ask(path, method, query="bogus=1", expect=400, **places)
    ask(path, method, headers={"X-Long": "x" * 20000}, expect=431, **places)
    ask(path, method, body=b"x" * 70000, expect=413, **places)
    ask(path, method, body=b"{}", expect=400, **places)
    for place in nothing(path):
        ask(path, method, expect=404, **place)
    if places:
        ask(path, method, expect=400, **{name: "%ff" for name in places})


def every_path():
    for path, item in DOCUMENT["paths"].items():
        places = example(path)
        ask(path, "OPTIONS", expect=204, headers={"Authorization": None}, **places)
        for method in {"get", "post", "delete"} & set(item):
            refusals(path, method.upper())
        if set(item) - {"get", "head", "post", "delete", "options"}:
            FAULTS.append(f"{path}: this check does not know its methods {sorted(item)}")
        if "get" not in item:
            continue
        first, _ = ask(path, **places)
        ask(path, "HEAD", **places)
        ask(path, headers={"Authorization": "Bearer " + LOOKING}, **places)
        ask(path, headers={"Accept-Encoding": "gzip"}, **places)
        ask(path, "HEAD", headers={"Authorization": "Bearer no"}, expect=401, **places)
        for place in nothing(path):
            ask(path, "HEAD", expect=404, **place)
        if "ETag" in first.headers:
            for method in ("GET", "HEAD"):
                ask(path, method, headers={"If-None-Match": first.headers["ETag"]}, expect=304, **places)
        if path.startswith("/api/v1/devices/"):
            ask(path, id="sensor-2")


def every_write():
    """What the changes answer, in an order in which each finds what it needs."""
    letters, one = "/api/v1/dead-letters", "/api/v1/dead-letters/{id}"
    steps = [("/api/v1/lanes/{name}/pause", "POST", "", 200, {"name": "main"}),
             ("/api/v1/lanes/{name}/resume", "POST", "", 200, {"name": "main"}),
             (one + "/replay", "POST", "", 204, {"id": "2"}),
             (one, "DELETE", "", 204, {"id": "3"}),
             (letters + "/replay", "POST", "lane=main&limit=1", 200, {}),
             (letters, "DELETE", "device=sensor-1&lane=main&limit=1", 200, {})]
    described = {(path, method.upper()) for path, item in DOCUMENT["paths"].items() for method in {"post", "delete"} & set(item)}
    if described != {step[:2] for step in steps}:
        FAULTS.append(f"this check does not know {sorted(described ^ {step[:2] for step in steps})}")
    for path, method, query, _, places in steps:
        ask(path, method, query, expect=403, headers={"Authorization": "Bearer " + LOOKING}, **places)
    for path, method, query, status, places in steps:
        ask(path, method, query, expect=status, **places)
    for path, method in ((letters + "/replay", "POST"), (letters, "DELETE")):
        ask(path, method, expect=400)
        ask(path, method, "lane=main&cursor=A", expect=400)
    # Room for two more: four are there.
    _, content = ask(letters + "/replay", "POST", "lane=main")
    done = json.loads(content)
    if (done["done"], done["more"], done["stopped"]) != (2, True, "/problems/log-full"):
        FAULTS.append(f"a replay that the log stops answers {done}")
    ask(letters + "/replay", "POST", "lane=main&cursor=" + done["next_cursor"], expect=503)
    _, content = ask(letters)
    left = [letter["id"] for letter in json.loads(content)["dead_letters"] if letter["lane"] == "main"]
    ask(one + "/replay", "POST", expect=503, id=left[0])
    ask(one + "/replay", "POST", expect=404, id="1")  # its lane is no more
    ask(one + "/replay", "POST", expect=409, id="10")  # its lane would not take it
    _, content = ask(letters + "/replay", "POST", "lane=gone")
    done = json.loads(content)
    if (done["done"], done["stopped"]) != (0, "/problems/lane-not-found"):
        FAULTS.append(f"a replay for a lane that is no more answers {done}")


def every_parameter():
    path = "/api/v1/devices"
    good = {"online": ["true", "false"], "inactive": ["true", "false"], "label": ["site", "line=3"],
            "firmware": ["2.1%2Bb7"], "prefix": ["sensor"], "limit": ["1", "500"], "count": ["true", "false"],
            "sort": resolve({"$ref": "#/components/parameters/sort"})["schema"]["enum"]}
    bad = {"online": "maybe", "inactive": "1", "label": "", "firmware": "", "prefix": "%20", "limit": "501",
           "count": "yes", "sort": "name"}
    described = {resolve(p)["name"] for p in DOCUMENT["paths"][path]["get"]["parameters"]}
    if described != set(good) | {"cursor"}:
        FAULTS.append(f"{path}: this check does not know {sorted(described ^ (set(good) | {'cursor'}))}")
    for name, values in good.items():
        for value in values:
            ask(path, query=f"{name}={value}")
    for name, value in bad.items():
        ask(path, query=f"{name}={value}", expect=400)
    _, first = ask(path, query="limit=1&count=true")
    page = json.loads(first)
    _, second = ask(path, query="limit=1&cursor=" + page["next_cursor"])
    if json.loads(second)["devices"][0]["id"] == page["devices"][0]["id"]:
        FAULTS.append(f"{path}: the second page begins like the first")
    ask(path, query="online=true&cursor=" + page["next_cursor"], expect=400)

    path = "/api/v1/dead-letters"
    described = {resolve(p)["name"] for p in DOCUMENT["paths"][path]["get"]["parameters"]}
    if described != {"lane", "device", "limit", "cursor"}:
        FAULTS.append(f"{path}: this check does not know {sorted(described)}")
    for query in ("lane=main", "device=sensor-1", "lane=main&device=sensor-1", "limit=1", "limit=500"):
        ask(path, query=query)
    for query in ("lane=", "device=%20", "limit=0", "limit=501", "cursor=A", "lane=main&lane=main"):
        ask(path, query=query, expect=400)
    _, first = ask(path, query="limit=1")
    page = json.loads(first)
    _, second = ask(path, query="limit=1&cursor=" + page["next_cursor"])
    if int(json.loads(second)["dead_letters"][0]["id"]) <= int(page["dead_letters"][0]["id"]):
        FAULTS.append(f"{path}: the second page does not go on after the first")
    ask(path, query="lane=main&cursor=" + page["next_cursor"], expect=400)


def other_problems():
    """What has no path or method of its own in the document."""
    for method, target, status, kind in (("GET", "/nowhere", 404, "NotFound"),
                                         ("DELETE", "/api/v1/devices", 405, "MethodNotAllowed"),
                                         ("POST", "/api/v1/devices/sensor-1", 405, "MethodNotAllowed"),
                                         ("GET", "/api/v1/lanes/main/pause", 405, "MethodNotAllowed"),
                                         ("PUT", "/api/v1/dead-letters", 405, "MethodNotAllowed")):
        connection = http.client.HTTPConnection(ADDRESS.hostname, ADDRESS.port, timeout=5)
        connection.request(method, target, headers={"Authorization": "Bearer " + TOKEN})
        answer = connection.getresponse()
        value = json.loads(answer.read())
        connection.close()
        where = f"{method} {target}"
        if answer.status != status:
            FAULTS.append(f"{where}: status {answer.status}")
        response = DOCUMENT["components"]["responses"][kind]
        validate(response["content"]["application/problem+json"]["schema"], value, where)
        for name, header in response["headers"].items():
            validate(resolve(header)["schema"], answer.getheader(name), f"{where}: {name}")
        SEEN_TYPES.add(value["type"])


every_path()
every_parameter()
every_write()
other_problems()

# Provoked by tests of their own, with servers set up for it.
ELSEWHERE = {"request-timeout", "too-many-connections", "live-data-unavailable", "answer-timeout", "internal-error", "log-unavailable"}
TYPES = set(resolve({"$ref": "#/components/schemas/Problem"})["properties"]["type"]["enum"])
for missing in sorted(TYPES - SEEN_TYPES - {"/problems/" + name for name in ELSEWHERE}):
    FAULTS.append(f"{missing} was not provoked")
# Every status that a server at rest can be made to answer was seen.
for path, item in DOCUMENT["paths"].items():
    for method, operation in item.items():
        for status in operation["responses"]:
            rest = {"405", "408", "500"} | ({"413", "431", "400"} if method == "head" else set())
            if status == "503" and "LogUnavailable" not in str(operation["responses"]["503"]) or status in rest:
                continue
            if (path, method.upper(), int(status)) not in SEEN:
                FAULTS.append(f"{method.upper()} {path}: {status} was not provoked")
print("\n".join(FAULTS) or f"{len(SEEN)} kinds of answer agree with the document")
sys.exit(1 if FAULTS else 0)
