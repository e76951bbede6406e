#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Holds answers of a running API against its OpenAPI document.

    check_openapi.py BASE_URL ADMIN_TOKEN READ_TOKEN OPENAPI_JSON

Asks every path with every method the document has, and with every query
parameter; provokes every problem that can be provoked from outside; and checks
status, headers and body of each answer. Expects the devices sensor-1 (online,
and to be kicked once) and sensor-2 (offline), an empty registry, room for six
commands of which those named "now" and "sent" are that, the lanes main and
archive, and dead letters: 1 of a lane that is no more, 10 that its lane would not
take any more, the rest of main, for which the log has room for four.
Prints each disagreement and exits with 1 if there is any.
"""
import http.client
import json
import pathlib
import re
import sys
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "support"))
from openapi_contract import Contract  # noqa: E402

BASE, TOKEN, LOOKING, FILE = sys.argv[1:5]
ADDRESS = urllib.parse.urlsplit(BASE)
CONTRACT = Contract(FILE)
PATHS = CONTRACT.document["paths"]
FAULTS = CONTRACT.faults
V1 = "/api/v1"
DEVICE, COMMAND, LETTERS = V1 + "/devices/{id}", V1 + "/commands/{command}", V1 + "/dead-letters"
IMPORT = V1 + "/devices/import"
PATCH_TYPE = "application/merge-patch+json"
# A body that would do, for what takes one.
BODIES = {(DEVICE, "PUT"): b"{}", (DEVICE, "PATCH"): b"{}", (DEVICE + "/credentials", "POST"): b'{"kind":"token"}',
          (DEVICE + "/commands", "POST"): b'{"name":"go"}', (DEVICE + "/twin/desired", "PUT"): b"{}",
          (DEVICE + "/twin/desired", "PATCH"): b"{}", (IMPORT, "POST"): b'{"id":"new-1"}\n'}


def ask(path, method="GET", query="", expect=200, headers=None, body=None, **places):
    """Asks `path` of the document, with its {places} filled in, and checks the answer."""
    target = path.format(**places) + ("?" + query if query else "")
    fields = {"Authorization": "Bearer " + TOKEN, **(headers or {})}
    if isinstance(body, dict):
        body = json.dumps(body).encode()
    connection = http.client.HTTPConnection(ADDRESS.hostname, ADDRESS.port, timeout=5)
    connection.request(method, target, body=body, headers={k: v for k, v in fields.items() if v is not None})
    answer = connection.getresponse()
    endless = (answer.getheader("Content-Type") or "").startswith("text/event-stream")
    content = b"" if endless else answer.read()
    connection.close()
    where = f"{method} {target} -> {answer.status}"
    if answer.status != expect:
        FAULTS.append(f"{where}: expected {expect}: {content[:300]!r}")
    CONTRACT.check(path, method, answer.status, answer.headers, content, where)
    return answer, content


def example(path):
    if path.startswith(V1 + "/devices/{id}"):
        return {"id": "sensor-1", "credential": "none"}
    if path.startswith("/assets/"):
        return {"name": re.search(rb'/assets/([^"]+)"', ask("/")[1])[1].decode()}
    return {"name": "main", "id": "2", "command": "c1000"} if "{" in path else {}


def nothing(path, method):
    """Places at which there is nothing."""
    if path.startswith(DEVICE):
        ids = ["%20"] if (path, method) == (DEVICE, "PUT") else ["9999", "sensor-9"]
        return [{"id": id, "credential": "none"} for id in ids]
    if "{id}" in path:
        return [{"id": "9999"}, {"id": "sensor-9"}]
    return [{"name": "nowhere", "command": "nothing"}] if "{" in path else []


def refusals(path, method):
    """What holds for every method that needs a token; nothing is changed by it."""
    places = example(path)
    ask(path, method, headers={"Authorization": None}, expect=401, **places)
    ask(path, method, headers={"Authorization": "Bearer no"}, expect=401, **places)
    ask(path, method, query="bogus=1", expect=400, body=BODIES.get((path, method)), **places)
    ask(path, method, headers={"X-Long": "x" * 20000}, expect=431, **places)
    if path != IMPORT:  # which takes more than is good to try
        ask(path, method, body=b"x" * 70000, expect=413, **places)
    if (path, method) not in BODIES:
        ask(path, method, body=b"{}", expect=400, **places)
    elif path != IMPORT:
        ask(path, method, body=b"{", expect=400, **places)
        ask(path, method, body=b'{"nonsense":1}', expect=200 if "twin" in path else 400, **places)
        ask(path, method, body=b"{}", headers={"Content-Type": "text/plain"}, expect=415, **places)
    for place in nothing(path, method):
        ask(path, method, expect=404, body=BODIES.get((path, method)), **place)
    if "{" in path:
        ask(path, method, expect=400, **{name: "%ff" for name in ("id", "name", "command", "credential")})


def every_path():
    for path, item in PATHS.items():
        places = example(path)
        ask(path, "OPTIONS", expect=204, headers={"Authorization": None}, **places)
        open_to_all = item["options"]["tags"] == ["dashboard"]
        for method in sorted({"get", "post", "put", "patch", "delete"} & set(item)):
            if open_to_all:
                for place in nothing(path, method.upper()):
                    ask(path, expect=404, **place)
            else:
                refusals(path, method.upper())
        if "get" not in item:
            continue
        first, _ = ask(path, **places)
        ask(path, "HEAD", **places)
        if item["get"].get("x-scope") != "admin":
            ask(path, headers={"Authorization": "Bearer " + LOOKING}, **places)
        ask(path, headers={"Accept-Encoding": "gzip"}, **places)
        if not open_to_all:
            ask(path, "HEAD", headers={"Authorization": "Bearer no"}, expect=401, **places)
        for place in nothing(path, "HEAD"):
            ask(path, "HEAD", expect=404, **place)
        if "304" in item["get"]["responses"]:
            for method in ("GET", "HEAD"):
                ask(path, method, headers={"If-None-Match": first.headers["ETag"]}, expect=304, **places)


def read(content):
    return json.loads(content)


def registry():
    one = {"id": "sensor-1"}
    made, _ = ask(DEVICE, "PUT", expect=201, body={"labels": {"site": "Berlin"}}, **one)
    ask(DEVICE, "PUT", expect=200, body={"note": "n"}, headers={"If-Match": made.headers["ETag"]}, **one)
    ask(DEVICE, "PUT", expect=412, body={}, headers={"If-Match": made.headers["ETag"]}, **one)
    ask(DEVICE, "PUT", expect=412, body={}, headers={"If-None-Match": "*"}, **one)
    ask(DEVICE, "PUT", expect=400, body={}, headers={"If-Match": "r1"}, **one)
    ask(DEVICE, "PATCH", expect=200, body={"labels": {"a": "b"}}, headers={"Content-Type": PATCH_TYPE}, **one)
    ask(DEVICE, "PATCH", expect=412, body={}, headers={"If-Match": '"r1"'}, **one)
    ask(DEVICE, "PUT", expect=201, body={}, id="sensor-3")
    ask(DEVICE, "DELETE", expect=412, headers={"If-Match": '"r0"'}, id="sensor-3")
    ask(DEVICE, "DELETE", expect=204, id="sensor-3")
    credentials = DEVICE + "/credentials"
    _, content = ask(credentials, "POST", expect=201, body={"kind": "token", "expires_in": "7d", "note": "n"}, **one)
    again = {"kind": "token", "sha256": read(content)["sha256"]}
    ask(credentials, "POST", expect=409, body=again, **one)
    for _ in range(7):
        ask(credentials, "POST", expect=201, body={"kind": "token"}, **one)
    ask(credentials, "POST", expect=409, body={"kind": "token"}, **one)
    ask(credentials, **one)
    ask(credentials + "/{credential}", "DELETE", expect=204, credential=read(content)["id"], **one)
    ask(IMPORT, "POST", body=b'{"id":"new-1","labels":{"a":"b"}}\nnonsense\n{"id":"new-1"}\n\n{"id":"sensor-1","x":1}')
    ask(IMPORT, "POST", query="errors_only=true", body=b'{"id":"new-2"}\n')
    ask(IMPORT, "POST", expect=400, query="errors_only=1", body=b'{"id":"new-2"}\n')
    ask(IMPORT, "POST", expect=400)
    ask(IMPORT, "POST", expect=415, body=b"{}", headers={"Content-Type": "application/json"})
    ask(V1 + "/devices/export")
    ask(DEVICE + "/session", "DELETE", expect=204, **one)


def commands():
    one, path = {"id": "sensor-1"}, DEVICE + "/commands"
    first = {"name": "go", "payload": {"rpm": 900}, "timeout": "10s", "ttl": 60, "at_most_once": True}
    taken, content = ask(path, "POST", expect=202, body=first, headers={"Idempotency-Key": "k"}, **one)
    again, _ = ask(path, "POST", expect=202, body=first, headers={"Idempotency-Key": "k"}, **one)
    if (taken.headers["Idempotent-Replay"], again.headers["Idempotent-Replay"]) != (None, "true"):
        FAULTS.append("a repeated key is not told from a new one")
    ask(path, "POST", expect=409, body={"name": "other"}, headers={"Idempotency-Key": "k"}, **one)
    ask(path, "POST", expect=400, body=first, headers={"Idempotency-Key": "a b"}, **one)
    _, ended = ask(path, "POST", expect=200, body={"name": "now", "payload_base64": "AP8="}, query="wait=1s", **one)
    _, sent = ask(path, "POST", expect=202, body={"name": "sent"}, query="wait=10ms", **one)
    for _ in range(3):
        ask(path, "POST", expect=202, body={"name": "go"}, **one)
    ask(path, "POST", expect=429, body={"name": "go"}, **one)
    _, page = ask(path, query="limit=2", **one)
    ask(path, query="limit=2&cursor=" + read(page)["next_cursor"], **one)
    for query in ("limit=0", "limit=101", "cursor=A", "wait=1s"):
        ask(path, query=query, expect=400, **one)
    ask(COMMAND, query="wait=10ms", command=read(ended)["id"])
    ask(COMMAND, query="wait=61s", expect=400, command=read(ended)["id"])
    ask(COMMAND, "DELETE", expect=200, command=read(content)["id"])
    ask(COMMAND, "DELETE", expect=202, command=read(sent)["id"])
    ask(COMMAND, "DELETE", expect=409, command=read(ended)["id"])


def twins_and_history():
    one, desired = {"id": "sensor-1"}, DEVICE + "/twin/desired"
    put, _ = ask(desired, "PUT", body={"interval": 30}, **one)
    ask(desired, "PATCH", body={"interval": None}, headers={"If-Match": put.headers["ETag"], "Content-Type": PATCH_TYPE}, **one)
    for method in ("PUT", "PATCH"):
        ask(desired, method, expect=412, body={}, headers={"If-Match": '"d0"'}, **one)
    ask(DEVICE + "/twin", **one)
    for path in (DEVICE + "/timeline", DEVICE + "/presence"):
        _, page = ask(path, query="limit=2", **one)
        ask(path, query="limit=500&cursor=" + read(page)["next_cursor"], **one)
        for query in ("limit=0", "limit=501", "cursor=A"):
            ask(path, query=query, expect=400, **one)
    ask(V1 + "/refusals", query="limit=1")
    ask(V1 + "/refusals", query="limit=0", expect=400)


def forbidden():
    """What a token that may look alone is told, for every change."""
    for path, item in PATHS.items():
        for method in item:
            if item[method].get("x-scope") in ("command", "admin"):
                expect = 403
                ask(path, method.upper(), expect=expect, headers={"Authorization": "Bearer " + LOOKING}, **example(path))


def letters():
    """What the changes answer, in an order in which each finds what it needs."""
    one = LETTERS + "/{id}"
    steps = [(V1 + "/lanes/{name}/pause", "POST", "", 200, {"name": "main"}),
             (V1 + "/lanes/{name}/resume", "POST", "", 200, {"name": "main"}),
             (one + "/replay", "POST", "", 204, {"id": "2"}),
             (one, "DELETE", "", 204, {"id": "3"}),
             (LETTERS + "/replay", "POST", "lane=main&limit=1", 200, {}),
             (LETTERS, "DELETE", "device=sensor-1&lane=main&limit=1", 200, {})]
    for path, method, query, status, places in steps:
        ask(path, method, query, expect=status, **places)
    for path, method in ((LETTERS + "/replay", "POST"), (LETTERS, "DELETE")):
        ask(path, method, expect=400)
        ask(path, method, "lane=main&cursor=A", expect=400)
    # Room for two more: four are there.
    _, content = ask(LETTERS + "/replay", "POST", "lane=main")
    done = read(content)
    if (done["done"], done["more"], done["stopped"]) != (2, True, "/problems/log-full"):
        FAULTS.append(f"a replay that the log stops answers {done}")
    ask(LETTERS + "/replay", "POST", "lane=main&cursor=" + done["next_cursor"], expect=503)
    _, content = ask(LETTERS)
    left = [letter["id"] for letter in read(content)["dead_letters"] if letter["lane"] == "main"]
    ask(one + "/replay", "POST", expect=503, id=left[0])
    ask(one + "/replay", "POST", expect=404, id="1")  # its lane is no more
    ask(one + "/replay", "POST", expect=409, id="10")  # its lane would not take it
    _, content = ask(LETTERS + "/replay", "POST", "lane=gone")
    done = read(content)
    if (done["done"], done["stopped"]) != (0, "/problems/lane-not-found"):
        FAULTS.append(f"a replay for a lane that is no more answers {done}")


def every_parameter():
    path = V1 + "/devices"
    flags = ("online", "inactive", "registered", "enabled", "count", "explain")
    good = {**{name: ["true", "false"] for name in flags}, "label": ["site", "line=3", "!x", "line!=4"],
            "firmware": ["2.1%2Bb7"], "prefix": ["sensor"], "limit": ["1", "500"], "text": ["SENSOR"], "node": ["edge-1"],
            "reason": ["heartbeat_lost"], "inactive_for": ["10m", "1"], "last_seen_after": ["2023-01-01T00:00:00Z"],
            "last_seen_before": ["2033-01-01T00:00:00.5%2B01:00"], "fields": ["id,online", "labels"], "format": ["json", "ndjson"],
            "sort": CONTRACT.resolve({"$ref": "#/components/parameters/sort"})["schema"]["enum"]}
    bad = {**{name: "maybe" for name in flags}, "label": "", "firmware": "", "prefix": "%20", "limit": "501", "text": "",
           "node": "a/b", "reason": "", "inactive_for": "soon", "last_seen_after": "yesterday", "last_seen_before": "0",
           "fields": "id,,online", "format": "xml", "sort": "name"}
    described = {CONTRACT.resolve(p)["name"] for p in PATHS[path]["get"]["parameters"]}
    if described != set(good) | {"cursor"}:
        FAULTS.append(f"{path}: this check does not know {sorted(described ^ (set(good) | {'cursor'}))}")
    for name, values in good.items():
        for value in values:
            ask(path, query=f"{name}={value}")
    for name, value in bad.items():
        ask(path, query=f"{name}={value}", expect=400)
    ask(path, headers={"Accept": "application/x-ndjson"})
    ask(path, query="format=ndjson&limit=1", expect=400)
    _, first = ask(path, query="limit=1&count=true")
    page = read(first)
    _, second = ask(path, query="limit=1&cursor=" + page["next_cursor"])
    if read(second)["devices"][0]["id"] == page["devices"][0]["id"]:
        FAULTS.append(f"{path}: the second page begins like the first")
    ask(path, query="online=true&cursor=" + page["next_cursor"], expect=400)
    for query in ("lane=main", "device=sensor-1", "lane=main&device=sensor-1", "limit=1", "limit=500"):
        ask(LETTERS, query=query)
    for query in ("lane=", "device=%20", "limit=0", "limit=501", "cursor=A", "lane=main&lane=main"):
        ask(LETTERS, query=query, expect=400)
    _, first = ask(LETTERS, query="limit=1")
    page = read(first)
    _, second = ask(LETTERS, query="limit=1&cursor=" + page["next_cursor"])
    if int(read(second)["dead_letters"][0]["id"]) <= int(page["dead_letters"][0]["id"]):
        FAULTS.append(f"{LETTERS}: the second page does not go on after the first")
    ask(LETTERS, query="lane=main&cursor=" + page["next_cursor"], expect=400)


def other_problems():
    """What has no path or method of its own in the document."""
    for method, target, status in (("GET", "/nowhere", 404), ("DELETE", "/api/v1/devices", 405),
                                   ("POST", "/api/v1/devices/sensor-1", 405), ("GET", "/api/v1/lanes/main/pause", 405),
                                   ("GET", "/api/v1/devices/sensor-1/session", 405), ("PUT", "/api/v1/dead-letters", 405)):
        connection = http.client.HTTPConnection(ADDRESS.hostname, ADDRESS.port, timeout=5)
        connection.request(method, target, headers={"Authorization": "Bearer " + TOKEN})
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        if answer.status != status:
            FAULTS.append(f"{method} {target}: status {answer.status}")
        CONTRACT.check_answer(method, target, answer.status, answer.headers, content)


registry()
commands()
twins_and_history()
every_parameter()
forbidden()
every_path()
letters()
other_problems()

# Provoked by tests of their own, with servers set up for it.
ELSEWHERE = {"request-timeout", "too-many-connections", "too-many-subscribers", "live-data-unavailable", "answer-timeout",
             "internal-error", "log-unavailable", "no-store", "store-unavailable"}
TYPES = set(CONTRACT.resolve({"$ref": "#/components/schemas/Problem"})["properties"]["type"]["enum"])
for missing in sorted(TYPES - CONTRACT.types - {"/problems/" + name for name in ELSEWHERE}):
    FAULTS.append(f"{missing} was not provoked")
# Every status that a server at rest can be made to answer was seen.
for path, item in PATHS.items():
    for method, operation in item.items():
        for status in operation["responses"]:
            rest = {"405", "408", "500", "501"}
            if method in ("head", "options") or operation["tags"] == ["dashboard"]:
                rest |= {"400", "403", "413", "431"}
            if path == IMPORT:
                rest.add("413")
            if path == COMMAND:  # where too many wait for the end of commands
                rest.add("429")
            if path == "/":  # unless the dashboard is turned off
                rest.add("404")
            if status == "503" and "LogUnavailable" not in str(operation["responses"]["503"]) or status in rest:
                continue
            if (path, method.upper(), int(status)) not in CONTRACT.seen:
                FAULTS.append(f"{method.upper()} {path}: {status} was not provoked")
print("\n".join(FAULTS) or f"{len(CONTRACT.seen)} kinds of answer agree with the document")
sys.exit(1 if FAULTS else 0)
